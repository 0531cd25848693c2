import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The system's Chromium on the PATH, or null. */
export function findChromium(path: string = process.env["PATH"] ?? ""): string | null {
  for (const directory of path.split(delimiter))
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not this one.
      }
    }
  return null;
}
