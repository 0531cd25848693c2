import { InvalidArgumentError } from "commander";

export const NODE_URL_DEFAULT = "http://127.0.0.1:7701";

/** The node to ask: the flag, else the environment, else the first node of a local cluster. */
export function nodeUrlFrom(
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const fromEnv = env["QUORATE_NODE"];
  return flag ?? (fromEnv === undefined || fromEnv === "" ? NODE_URL_DEFAULT : fromEnv);
}

/** Where the submitter of a local cluster listens. */
export const SUBMITTER_URL_DEFAULT = "http://127.0.0.1:7600";

/** The submitter to ask: the flag, else the environment, else the one of a local cluster. */
export function submitterUrlFrom(
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const fromEnv = env["QUORATE_SUBMITTER"];
  return flag ?? (fromEnv === undefined || fromEnv === "" ? SUBMITTER_URL_DEFAULT : fromEnv);
}

/** For commander: an http URL, or a message that says what it should be. */
export function httpUrl(text: string): string {
  if (URL.canParse(text) && ["http:", "https:"].includes(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("It must be a URL such as http://127.0.0.1:7701.");
}

/** For commander: URLs separated by commas. */
export function httpUrls(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(httpUrl);
}

/** For commander: a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** For commander: any number at all; what is wrong with it is said later, together with the rest. */
export function anyNumber(text: string): number {
  return text.trim() === "" ? Number.NaN : Number(text);
}

/** For commander: 1 or 3, the sizes of an etcd that is started here. */
export function etcdMembers(text: string): 1 | 3 {
  if (text === "1") return 1;
  if (text === "3") return 3;
  throw new InvalidArgumentError("It must be 1 or 3.");
}

/** Servers on this machine, where a new cluster is told of no others. */
export const SERVER_DEFAULTS = {
  etcd: ["http://127.0.0.1:2379"],
  postgres: "postgres://127.0.0.1:5432/postgres",
  rpc: ["http://127.0.0.1:8545"],
} as const;
