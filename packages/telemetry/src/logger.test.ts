import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger, type FlushableLogger, type LoggerOptions } from "./logger.ts";

let folder = "";
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "quorate-log-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function written(
  options: Partial<LoggerOptions>,
  write: (logger: FlushableLogger) => void,
): Promise<string> {
  files += 1;
  const destination = join(folder, "made", `${files}.log`);
  const logger = createLogger({
    level: "info",
    pretty: false,
    destination,
    clock: { nowMs: () => 0 },
    ...options,
  });
  write(logger);
  await logger.flush();
  return await readFile(destination, "utf8");
}

function lines(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

test("a line is one JSON object with level, time, message, base and own fields", async () => {
  const text = await written({ base: { node: "n1" } }, (logger) => {
    logger.info("vote recorded", { txId: "tx_1", value: 7n });
    logger.warn("slow");
  });
  expect(text).toBe(
    [
      '{"level":"info","time":"1970-01-01T00:00:00.000Z","node":"n1","txId":"tx_1","value":"7","msg":"vote recorded"}',
      '{"level":"warn","time":"1970-01-01T00:00:00.000Z","node":"n1","msg":"slow"}',
      "",
    ].join("\n"),
  );
});

test("a line less severe than the level is not written", async () => {
  const all = (logger: FlushableLogger): void => {
    logger.debug("d");
    logger.info("i");
    logger.warn("w");
    logger.error("e");
  };
  const levels = async (level: LoggerOptions["level"]): Promise<unknown[]> =>
    lines(await written({ level }, all));
  expect(await levels("debug")).toHaveLength(4);
  expect(await levels("info")).toHaveLength(3);
  expect(await levels("warn")).toHaveLength(2);
  expect(await levels("error")).toHaveLength(1);
  expect(await levels("silent")).toHaveLength(0);
});

test("a child carries its fields into each line, and a repeated name appears once", async () => {
  const text = await written({ base: { part: "a", node: "n1" } }, (logger) => {
    logger.child({ part: "b" }).child({ tx: "t" }).info("m", { part: "c" });
  });
  expect(lines(text)).toEqual([expect.objectContaining({ node: "n1", part: "c", tx: "t" })]);
  expect(text.match(/"part"/g)).toHaveLength(1);
});

test("secrets are redacted in base, child and line fields", async () => {
  const text = await written({ base: { seed: "hush" } }, (logger) => {
    logger.child({ config: { password: "hush" } }).info("m", { signer: { privateKey: "hush" } });
  });
  expect(text).not.toContain("hush");
  expect(text.match(/\[redacted\]/g)).toHaveLength(3);
});

test("an error's stack is on warn and error lines only, and on all when the level is debug", async () => {
  const log = (logger: FlushableLogger): void => {
    const error = new Error("boom", { cause: new Error("why") });
    logger.info("i", { error });
    logger.error("e", { error });
    logger.child({ error }).info("c");
  };
  const stacks = (text: string): boolean[] =>
    text
      .trim()
      .split("\n")
      .map((line) => line.includes('"stack"'));
  const text = await written({}, log);
  expect(stacks(text)).toEqual([false, true, false]);
  expect(lines(text)[0]).toMatchObject({ error: { message: "boom", cause: { message: "why" } } });
  expect(stacks(await written({ level: "debug" }, log))).toEqual([true, true, true]);
});

test("pretty lines are for people, not JSON", async () => {
  const text = await written({ pretty: true }, (logger) =>
    logger.info("vote recorded", { tx: "t" }),
  );
  expect(text).toMatch(/INFO.*vote recorded/);
  expect(text).toContain('tx: "t"');
  expect(text).not.toContain("{");
});

test("lines beyond the bounded buffer are dropped and counted, the others are whole", async () => {
  let dropped = 0;
  const text = await written({}, (logger) => {
    for (let index = 0; index < 3_000; index += 1) logger.info("m", { text: "x".repeat(8_000) });
    dropped = logger.droppedLines();
  });
  expect(dropped).toBeGreaterThan(0);
  expect(lines(text)).toHaveLength(3_000 - dropped);
});

test("a log file that cannot be opened fails at once", () => {
  const destination = join("/dev/null", "x.log");
  expect(() => createLogger({ level: "info", pretty: false, destination })).toThrow(
    expect.objectContaining({ code: "LOG_DESTINATION" }),
  );
});

test("a flush whose signal is aborted rejects with its reason", async () => {
  const reason = new Error("too long");
  const logger = createLogger({
    level: "info",
    pretty: false,
    destination: join(folder, "aborted.log"),
  });
  await expect(logger.flush({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("lines reach a pipe though the process exits right after, and flush resolves on a pipe", async () => {
  const script = `
    import { createLogger } from ${JSON.stringify(new URL("./logger.ts", import.meta.url).href)};
    const out = createLogger({ level: "info", pretty: false });
    const err = createLogger({ level: "info", pretty: false, destination: "stderr" });
    out.info("first");
    await out.flush();
    err.info("flushed");
    await err.flush();
    out.info("last");
    process.exit(0);
  `;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    "--conditions=@quorate/source",
    "--input-type=module",
    "--eval",
    script,
  ]);
  expect(lines(stdout)).toMatchObject([{ msg: "first" }, { msg: "last" }]);
  expect(lines(stderr)).toMatchObject([{ msg: "flushed" }]);
});
