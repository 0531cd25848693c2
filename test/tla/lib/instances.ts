import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { TLA_DIRECTORY } from "./source.ts";

/** The instances that must hold, from `tla/`. */
export function instanceFiles(directory: string = TLA_DIRECTORY): readonly string[] {
  return globSync("*.cfg", { cwd: directory }).sort();
}

/** A twin of an instance with one planted defect, which must have a counterexample. */
export interface Twin {
  readonly file: string;
  /** The instance it is a twin of. */
  readonly base: string;
  readonly defect: string;
}

const NO_DEFECT = "  Defects = {}\n";

/** The twins, from `tla/broken`. Throws when one differs from its instance in anything but the defect: then it would show nothing. */
export function twins(directory: string = TLA_DIRECTORY): readonly Twin[] {
  return globSync("broken/*.cfg", { cwd: directory })
    .map((file) => file.replaceAll("\\", "/"))
    .sort()
    .map((file) => {
      const [stem, defect] = basename(file, ".cfg").split("--");
      const base = `${stem}.cfg`;
      const expected = readFileSync(join(directory, base), "utf8").replace(
        NO_DEFECT,
        `  Defects = {"${defect}"}\n`,
      );
      if (defect === undefined || expected !== readFileSync(join(directory, file), "utf8"))
        throw new Error(`${file} must be ${base} with the one defect that its name says`);
      return { file, base, defect };
    });
}
