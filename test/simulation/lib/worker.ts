import { parentPort } from "node:worker_threads";
import { carryOut, type Task } from "./tasks.ts";

const port = parentPort;
if (port === null) throw new Error("this is a worker's file");
port.on("message", (task: Task) => {
  carryOut(task, (beat) => port.postMessage({ beat })).then(
    (answer) => port.postMessage({ answer }),
    (error: unknown) => port.postMessage({ error: String(error) }),
  );
});
