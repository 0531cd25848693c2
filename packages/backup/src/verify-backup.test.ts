import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";

import { parseClusterId, unwrap } from "@quorate/core";
import { expect, test } from "vitest";

import { BACKUP_FORMAT, ETCD_FILE, MANIFEST_FILE, manifestText } from "./manifest.ts";
import { verifyBackup } from "./verify-backup.ts";

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

test("a backup is as good by every way to write its path", async () => {
  const directory = await mkdtemp(join(tmpdir(), "quorate-verify-"));
  try {
    await mkdir(join(directory, "postgres"));
    const pages = Buffer.alloc(512, 1);
    const snapshot = Buffer.concat([pages, sha256(pages)]);
    const table = gzipSync("a\tb\n");
    await writeFile(join(directory, ETCD_FILE), snapshot);
    await writeFile(join(directory, "postgres/t.gz"), table);
    const entry = (file: string, bytes: Uint8Array) => ({
      file,
      bytes: bytes.length,
      sha256: sha256(bytes).toString("hex"),
    });
    const manifest = manifestText({
      format: BACKUP_FORMAT,
      clusterId: unwrap(parseClusterId("paths")),
      createdAt: "2026-01-15T00:00:00.000Z",
      tool: "test",
      etcd: { ...entry(ETCD_FILE, snapshot), lineage: "1", revisionAtLeast: "1" },
      postgres: {
        schema: "quorate_paths",
        serverVersion: "15",
        migrations: [],
        sequences: [],
        senders: [],
        projectorPosition: null,
        tables: [{ name: "t", columns: ["a"], rows: 1, ...entry("postgres/t.gz", table) }],
      },
    });
    await writeFile(join(directory, MANIFEST_FILE), manifest);
    const below = relative(".", directory);
    const around = `${dirname(directory)}/./nothing/../${basename(directory)}`;
    for (const path of [directory, `${directory}/`, `${directory}//`, below, `./${below}`, around])
      expect((await verifyBackup(path)).problems, path).toEqual([]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
