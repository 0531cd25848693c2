import { parentPort } from "node:worker_threads";
import { checkInstance } from "./lib/check-instance.ts";

/** Checks the instances it is sent, one at a time. */
parentPort?.on("message", (file: string) => {
  parentPort?.postMessage(checkInstance(file));
});
