/** An endpoint's address, taken apart so that nothing secret is left in what is logged. */
export interface RpcUrl {
  /** What to fetch: the URL without credentials. */
  readonly url: string;
  /** Basic authentication, when the URL held a user or a password. */
  readonly authorization: string | null;
  /** Host and port only: the one part that may be logged (paths and queries hold API keys). */
  readonly label: string;
  /** Takes every secret part of the URL out of a text that came from elsewhere. */
  readonly redact: (text: string) => string;
}

const SECRET_CHARS_MIN = 6;

/**
 * Reads an endpoint's URL.
 * @throws TypeError when it is no http(s) URL; the message does not hold the URL.
 */
export function parseRpcUrl(input: string): RpcUrl {
  const parsed = URL.canParse(input) ? new URL(input) : null;
  if (parsed === null || (parsed.protocol !== "http:" && parsed.protocol !== "https:")) {
    throw new TypeError(
      "an RPC endpoint must be an http:// or https:// URL (it is not shown: it may hold a key)",
    );
  }
  const user = decodeURIComponent(parsed.username);
  const password = decodeURIComponent(parsed.password);
  const authorization =
    user === "" && password === ""
      ? null
      : `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}`;
  // fetch refuses a URL with credentials in it.
  parsed.username = "";
  parsed.password = "";
  const secrets = [
    user,
    password,
    ...parsed.pathname.split("/"),
    ...parsed.search.slice(1).split(/[&=]/),
  ].filter((part) => part.length >= SECRET_CHARS_MIN);
  return {
    url: parsed.href,
    authorization,
    label: parsed.host,
    redact: (text) => secrets.reduce((out, secret) => out.replaceAll(secret, "[redacted]"), text),
  };
}
