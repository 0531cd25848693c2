import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { serverVersions } from "@quorate/devkit";
import { VERSION } from "../version.ts";

/** Which package brings a component, and under which name it is installed there. */
const LIBRARIES = [
  { name: "libp2p", owner: "@quorate/network-libp2p", installedAs: "libp2p" },
  {
    name: "gossipsub",
    owner: "@quorate/network-libp2p",
    installedAs: "@chainsafe/libp2p-gossipsub",
  },
  { name: "noise", owner: "@quorate/network-libp2p", installedAs: "@chainsafe/libp2p-noise" },
  { name: "yamux", owner: "@quorate/network-libp2p", installedAs: "@chainsafe/libp2p-yamux" },
  { name: "kad-dht", owner: "@quorate/network-libp2p", installedAs: "@libp2p/kad-dht" },
  { name: "etcd3", owner: "@quorate/store-etcd", installedAs: "etcd3" },
  { name: "pg", owner: "@quorate/store-postgres", installedAs: "pg" },
  { name: "viem", owner: "@quorate/chain-evm", installedAs: "viem" },
  { name: "sodium-native", owner: "@quorate/crypto-sodium", installedAs: "sodium-native" },
] as const;

/** The versions of what really runs: servers as their binaries say, libraries as they are installed. */
export async function componentVersions(): Promise<Readonly<Record<string, string>>> {
  return {
    quorate: VERSION,
    node: process.versions.node,
    ...(await serverVersions()),
    ...Object.fromEntries(
      LIBRARIES.map(({ name, owner, installedAs }) => [name, versionOf(owner, installedAs)]),
    ),
  };
}

/** As installed for the package that uses it; "unknown" when its manifest is nowhere. */
function versionOf(owner: string, installedAs: string): string {
  const ownerManifest = findPackageJSON(owner, ownerBase());
  if (ownerManifest === undefined) return "unknown";
  // By folder, not by import: most of these packages export no manifest.
  for (let folder = dirname(ownerManifest); ; folder = dirname(folder)) {
    const version = readVersion(join(folder, "node_modules", installedAs, "package.json"));
    if (version !== null) return version;
    if (folder === dirname(folder)) return "unknown";
  }
}

/** The package that depends on all adapters; this one does not. */
function ownerBase(): string {
  return findPackageJSON("@quorate/localcluster", import.meta.url) ?? import.meta.url;
}

function readVersion(manifest: string): string | null {
  try {
    const parsed: unknown = JSON.parse(readFileSync(manifest, "utf8"));
    const version: unknown =
      typeof parsed === "object" && parsed !== null ? Reflect.get(parsed, "version") : null;
    return typeof version === "string" ? version : null;
  } catch {
    return null;
  }
}
