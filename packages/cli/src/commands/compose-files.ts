import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createLocalSigner, loadKeyFile } from "@quorate/chain-evm";
import type { EvmAddress } from "@quorate/core";
import { nodeIdsOf } from "@quorate/localcluster";
import { composeTokenFiles } from "./compose-tokens.ts";

/** Where docker-compose.yml has everything; what a cluster made for it is told instead of this machine's own. */
export const COMPOSE_ADDRESSES = {
  etcd: ["http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"],
  // Its password comes by PGPASSFILE.
  postgres: "postgres://quorate@postgres:5432/quorate",
  rpc: ["http://anvil:8545"],
} as const;

/** Trustees that docker-compose.yml has services for. */
export const COMPOSE_TRUSTEES = 5;

/** The user of the containers when root makes the cluster: the image's own. */
const IMAGE_USER = 1_000;

/**
 * Writes what docker-compose.yml needs beside a cluster's own files: passwords, tokens for the APIs, which listen
 * on more than loopback there, and the variables to start it with.
 * What is there already stays as it is, so that it may be called again. Made by root, all files are
 * given to the containers' user, who could not read them otherwise.
 * @returns the files that it has written, relative to the directory
 */
export async function writeComposeFiles(directory: string): Promise<readonly string[]> {
  const [uid, gid] = owner();
  const secrets = join(directory, "secrets");
  // Some servers read their password as a user of their own: its file is open, and its directory is not.
  await mkdir(secrets, { recursive: true, mode: 0o700 });
  const password = await existing(join(secrets, "postgres-password"));
  const postgres = password ?? randomBytes(24).toString("hex");
  const address = await submitterAddress(directory);
  const wanted = [
    { path: "secrets/postgres-password", content: postgres, mode: 0o644 },
    { path: "secrets/pgpass", content: `postgres:5432:*:quorate:${postgres}`, mode: 0o600 },
    {
      path: "secrets/grafana-password",
      content: randomBytes(12).toString("hex"),
      mode: 0o644,
    },
    {
      path: "compose.env",
      content: [
        `QUORATE_CLUSTER_DIR=${resolve(directory)}`,
        `QUORATE_UID=${uid}`,
        `QUORATE_GID=${gid}`,
        `QUORATE_SUBMITTER_ADDRESS=${address}`,
      ].join("\n"),
      mode: 0o644,
    },
    ...(await composeTokenFiles(directory, nodeIdsOf(COMPOSE_TRUSTEES))),
  ];
  const written: string[] = [];
  for (const { path, content, mode } of wanted)
    if (await writeNew(join(directory, path), `${content}\n`, mode)) written.push(path);
  if (process.getuid?.() === 0) await giveTo(directory, uid, gid);
  return written;
}

/** Whether a cluster was made in this directory already. */
export async function holdsCluster(directory: string): Promise<boolean> {
  return (await stat(join(directory, "cluster.json")).catch(() => null)) !== null;
}

function owner(): readonly [number, number] {
  const uid = process.getuid?.() ?? IMAGE_USER;
  return uid === 0 ? [IMAGE_USER, IMAGE_USER] : [uid, process.getgid?.() ?? IMAGE_USER];
}

async function submitterAddress(directory: string): Promise<EvmAddress> {
  const privateKey = await loadKeyFile(join(directory, "submitter", "submitter.key"));
  return createLocalSigner({ privateKey }).address;
}

async function existing(path: string): Promise<string | null> {
  return await readFile(path, "utf8").then(
    (text) => text.trim(),
    () => null,
  );
}

/** @returns false when it is there already, which then stays. */
async function writeNew(path: string, content: string, mode: number): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: "wx", mode });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
  // Whatever the umask was.
  await chmod(path, mode);
  return true;
}

async function giveTo(directory: string, uid: number, gid: number): Promise<void> {
  const entries = await readdir(directory, { recursive: true });
  for (const path of [directory, ...entries.map((entry) => join(directory, entry))])
    await chown(path, uid, gid);
}
