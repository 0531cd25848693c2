import { etcdIsPresent, fetchEtcd } from "./etcd.mjs";
import { SetupError, say, step } from "./log.mjs";
import { findRuntime, installPackages, packagesAreCurrent } from "./packages.mjs";
import { findPnpm } from "./pnpm.mjs";

const PLATFORMS = ["linux", "darwin"];

/**
 * Makes the checkout runnable; silent and quick when it already is.
 *
 * Resolves to the path of the Node to run the project with. With
 * `etcdOptional`, a missing etcd is said but does not stop what needs none.
 */
export async function setup({ etcdOptional }) {
  const current = packagesAreCurrent();
  if (!PLATFORMS.includes(process.platform)) {
    throw new SetupError(
      `Quorate runs on Linux and macOS (${process.platform} here). On Windows use WSL 2.`,
    );
  }
  if (!current) {
    say(
      `[1/5] checking this machine… ${process.platform} ${process.arch}, Node ${process.version}`,
    );
    let pnpm;
    await step("[2/5] finding pnpm", async () => {
      pnpm = await findPnpm();
      return pnpm.name;
    });
    await step("[3/5] installing packages (about a minute at first)", () => installPackages(pnpm));
  }
  if (!(await etcdIsPresent())) {
    try {
      await step("[4/5] fetching etcd", fetchEtcd);
    } catch (error) {
      if (!etcdOptional || !(error instanceof SetupError)) throw error;
      say(error.message);
    }
  } else if (!current) {
    say("[4/5] etcd… present");
  }
  return findRuntime();
}
