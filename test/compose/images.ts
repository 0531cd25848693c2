import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, rename } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Engine } from "./engine.ts";
import { must, run } from "./program.ts";

/** What docker-compose.yml is told to use, by the variables that it has for it. */
export type ImageVariables = Readonly<Record<string, string>>;

export interface ImageRequest {
  readonly engine: Engine;
  readonly root: string;
  /** For what is made on the way; whoever asks removes it. */
  readonly directory: string;
  /** Names of this run's images, without tag. */
  readonly prefix: string;
  /** Official images, pulled when the stack is started, instead of stand-ins. */
  readonly pull: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface BuiltImages {
  readonly variables: ImageVariables;
  /** Services that no image can be had for. */
  readonly leftOut: readonly string[];
  readonly names: readonly string[];
}

const SUITE = "bookworm";
/** What a machine without a registry has no image for, and Debian no package. */
const WITHOUT_STANDIN = ["grafana", "jaeger"] as const;
const SERVERS = ["etcd", "postgres", "prometheus", "alertmanager"] as const;
const BUILD_MS = 600_000;

/** Builds our images, and stand-ins for the others unless those are to be pulled. */
export async function buildImages(request: ImageRequest): Promise<BuiltImages> {
  const { prefix, pull, engine } = request;
  const standIn = (name: string): string => `${prefix}-${name}:${SUITE}`;
  const own = { QUORATE_IMAGE: `${prefix}-quorate:test`, ANVIL_IMAGE: `${prefix}-anvil:test` };
  const builtServers: string[] = [];
  if (!pull) {
    await timed(request, `Debian ${SUITE}, by debootstrap`, () =>
      importDebian(request, standIn("debian")),
    );
    await timed(request, "stand-in for Node's image", () =>
      buildStandIn(request, "node", standIn("node")),
    );
  }
  const ours = timed(request, "our images", () =>
    buildOurs(request, own, pull ? null : standIn("node")),
  );
  const servers = timed(request, `stand-ins for ${SERVERS.join(", ")}`, async () => {
    for (const name of pull ? [] : SERVERS) {
      await buildStandIn(request, name, standIn(name));
      builtServers.push(name);
    }
  });
  // Both end before either's failure is told: nothing may still be building when the engine is stopped.
  const ended = await Promise.allSettled([ours, servers]);
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  const size = async (name: string): Promise<string> =>
    `${Math.round(Number(await engine.docker(["image", "inspect", "--format", "{{.Size}}", name])) / 1e6)} MB`;
  request.say(
    `images: quorate ${await size(own.QUORATE_IMAGE)}, quorate-anvil ${await size(own.ANVIL_IMAGE)}` +
      (pull ? "" : `, of which their base ${await size(standIn("node"))}`),
  );
  const variables = Object.fromEntries(
    builtServers.map((name) => [`${name.toUpperCase()}_IMAGE`, standIn(name)]),
  );
  return {
    variables: { ...own, ...variables },
    leftOut: pull ? [] : WITHOUT_STANDIN,
    names: [
      ...Object.values(own),
      ...Object.values(variables),
      ...(pull ? [] : [standIn("node"), standIn("debian")]),
    ],
  };
}

async function timed(
  { say }: ImageRequest,
  what: string,
  work: () => Promise<unknown>,
): Promise<void> {
  const startedMs = performance.now();
  await work();
  say(`built: ${what}, ${Math.round((performance.now() - startedMs) / 1_000)} s`);
}

async function importDebian({ engine, directory, signal }: ImageRequest, name: string) {
  const rootfs = join(directory, "debian");
  const mirror = await mirrorOf(signal);
  const made = ["--variant=minbase", SUITE, rootfs, ...(mirror === null ? [] : [mirror])];
  await must("debootstrap", made, { signal, timeoutMs: BUILD_MS });
  // What a container does not read, and devices that the engine makes itself.
  const skipped = ["dev", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"];
  const tar = `${rootfs}.tar`;
  const words = [...skipped.map((path) => `--exclude=./${path}`), "-C", rootfs, "-cf", tar, "."];
  await must("tar", words, { signal });
  await engine.docker(["import", tar, name], { signal, timeoutMs: BUILD_MS });
}

/** The mirror that this machine's own apt uses, or null. */
async function mirrorOf(signal: AbortSignal): Promise<string | null> {
  const words = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
  const { stdout } = await run("apt-get", words, { signal });
  const line = stdout.split("\n").find((text) => text.endsWith(` ${SUITE}`));
  return line?.split(" ")[0] ?? null;
}

async function buildStandIn(request: ImageRequest, target: string, name: string): Promise<void> {
  const { engine, directory, prefix, signal } = request;
  const context = join(directory, "standins");
  if (!existsSync(context)) await makeContext(context, signal);
  const base = ["--build-arg", `BASE=${prefix}-debian:${SUITE}`];
  const words = ["build", "--network", "host", ...base, "--target", target, "-t", name, context];
  await engine.docker(words, { signal, timeoutMs: BUILD_MS });
}

/** The stand-ins' files, with the Node that runs this and npm from its package. */
async function makeContext(context: string, signal: AbortSignal): Promise<void> {
  await mkdir(context, { recursive: true });
  const from = join(import.meta.dirname, "standins");
  for (const file of await readdir(from)) await copyFile(join(from, file), join(context, file));
  await copyFile(process.execPath, join(context, "node"));
  const version = (await must("npm", ["--version"], { signal })).trim();
  const pack = ["pack", "--silent", "--pack-destination", context, `npm@${version}`];
  await must("npm", pack, { cwd: context, signal, timeoutMs: BUILD_MS });
  await rename(join(context, `npm-${version}.tgz`), join(context, "npm.tgz"));
}

async function buildOurs(
  { engine, root, signal }: ImageRequest,
  own: { readonly QUORATE_IMAGE: string; readonly ANVIL_IMAGE: string },
  nodeImage: string | null,
): Promise<void> {
  const common = ["build", "--network", "host", "-f", "deploy/Dockerfile"];
  const base = nodeImage === null ? [] : ["--build-arg", `NODE_IMAGE=${nodeImage}`];
  const secrets = (await npmSecrets(signal)).flatMap((secret) => ["--secret", secret]);
  for (const [target, name] of [
    ["quorate", own.QUORATE_IMAGE],
    ["anvil", own.ANVIL_IMAGE],
  ] as const)
    await engine.docker([...common, ...base, ...secrets, "--target", target, "-t", name, "."], {
      cwd: root,
      signal,
      timeoutMs: BUILD_MS,
    });
}

/** This machine's own settings for npm, which the build may need to reach a registry at all. */
async function npmSecrets(signal: AbortSignal): Promise<readonly string[]> {
  const asked = await run("npm", ["config", "get", "cafile"], { signal });
  const named = [process.env["NODE_EXTRA_CA_CERTS"], asked.stdout.trim()];
  const ca = named.find((file) => file !== undefined && file !== "" && existsSync(file));
  const npmrc = process.env["NPM_CONFIG_USERCONFIG"] ?? join(homedir(), ".npmrc");
  return [
    ...(ca === undefined ? [] : [`id=ca,src=${ca}`]),
    ...(existsSync(npmrc) ? [`id=npmrc,src=${npmrc}`] : []),
  ];
}
