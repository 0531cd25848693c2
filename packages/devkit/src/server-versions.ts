import { locateAnvil } from "./locate-anvil.ts";
import { locateEtcd } from "./locate-etcd.ts";
import { locatePostgres } from "./locate-postgres.ts";
import { postgresVersion } from "./postgres-home.ts";
import { runProgram } from "./run-program.ts";

/** The versions of the servers that would be started here, as the binaries themselves report them. */
export type ServerVersions = {
  readonly etcd: string;
  readonly postgres: string;
  readonly anvil: string;
};

/**
 * Asks each server binary for its version.
 *
 * @throws DevkitError when one of the three is not installed.
 */
export async function serverVersions({
  signal,
}: {
  signal?: AbortSignal | undefined;
} = {}): Promise<ServerVersions> {
  const [etcd, postgres, anvil] = await Promise.all([
    locateEtcd({ signal }),
    locatePostgres({ signal }),
    locateAnvil({ signal }),
  ]);
  const anvilOutput = await runProgram(anvil, ["--version"], { signal });
  return {
    etcd: etcd.version,
    postgres: await postgresVersion(postgres.binDir, { signal }),
    anvil: /\d+\.\d+\.\d+\S*/.exec(anvilOutput)?.[0] ?? "unknown",
  };
}
