import { readFile } from "node:fs/promises";

/** A text file's content, empty when there is none. @throws for any other failure */
export async function readExisting(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}
