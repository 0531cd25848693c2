import { type Runtime, Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What the collections that are not the node's are kept in, for the inspector to find. */
const OTHERS = "__quorateFuzzOthers";

/**
 * Looks at memory: at the heap as a whole after a full collection, and at every Map and Set in it,
 * whichever private field it hides in.
 */
export class MemoryWatch {
  readonly #session = new Session();
  readonly #gc: () => void;

  constructor() {
    setFlagsFromString("--expose-gc");
    const gc: unknown = runInNewContext("gc");
    if (typeof gc !== "function") throw new Error("this Node has no collector to be called");
    this.#gc = () => void gc();
  }

  /** What exists now is not the node's: the collections of the runtime and of the fuzzer itself. */
  async start(): Promise<void> {
    this.#session.connect();
    Reflect.set(globalThis, OTHERS, new WeakSet());
    await this.#overAll(
      `function () { for (const one of this) globalThis.${OTHERS}.add(one); return 0; }`,
    );
  }

  /** Takes collections out of the census: what a store in memory holds is the store's business. */
  exclude(collections: readonly object[]): void {
    const others: unknown = Reflect.get(globalThis, OTHERS);
    if (others instanceof WeakSet) for (const one of collections) others.add(one);
  }

  /** Entries in the largest Map or Set that was made since the start. Walks the whole heap: dear. */
  largestCollection(): Promise<number> {
    return this.#overAll(
      `function () { return this.reduce((most, one) =>
         globalThis.${OTHERS}.has(one) ? most : Math.max(most, one.size), 0); }`,
    );
  }

  /** Bytes in use after a full collection. */
  heapBytes(): number {
    this.#gc();
    this.#gc();
    return process.memoryUsage().heapUsed;
  }

  stop(): void {
    this.#session.disconnect();
    Reflect.deleteProperty(globalThis, OTHERS);
  }

  /** @returns the larger of what the function says of all Maps and of all Sets. */
  async #overAll(functionDeclaration: string): Promise<number> {
    let most = 0;
    for (const expression of ["Map.prototype", "Set.prototype"]) {
      const { result } = await this.#evaluate({ expression, objectGroup: GROUP });
      const { objects } = await this.#query(idOf(result));
      const said = await this.#call({
        functionDeclaration,
        objectId: idOf(objects),
        returnByValue: true,
      });
      if (said.exceptionDetails !== undefined)
        throw new Error(`the census failed: ${said.exceptionDetails.exception?.description}`);
      most = Math.max(most, Number(said.result.value));
      this.#session.post("Runtime.releaseObjectGroup", { objectGroup: GROUP });
    }
    return most;
  }

  // One by one: the promised `post` of Node's types has lost what these return.
  #evaluate(parameters: Runtime.EvaluateParameterType): Promise<Runtime.EvaluateReturnType> {
    return new Promise((resolve, reject) => {
      this.#session.post("Runtime.evaluate", parameters, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }

  #query(prototypeObjectId: string): Promise<Runtime.QueryObjectsReturnType> {
    const parameters = { prototypeObjectId, objectGroup: GROUP };
    return new Promise((resolve, reject) => {
      this.#session.post("Runtime.queryObjects", parameters, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }

  #call(
    parameters: Runtime.CallFunctionOnParameterType,
  ): Promise<Runtime.CallFunctionOnReturnType> {
    return new Promise((resolve, reject) => {
      this.#session.post("Runtime.callFunctionOn", parameters, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }
}

const GROUP = "fuzz";

function idOf({ objectId }: Runtime.RemoteObject): string {
  if (objectId === undefined) throw new Error("what is asked about is an object");
  return objectId;
}
