import { LIMITS } from "@quorate/core";
import { systemErrorCode } from "./errors.ts";

/** What every failed request answers with. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

export function errorBody(code: string, message: string): ErrorBody {
  return { error: { code, message } };
}

export interface HttpFailure {
  /** HTTP status, 400 to 599. */
  readonly status: number;
  readonly body: ErrorBody;
}

/**
 * Tells what a client may know of an error that a request ended in: the reason when the request was at fault,
 * nothing but "internal error" when the server was. This is the only table of Fastify's error codes.
 */
export function httpFailure(
  error: unknown,
  options: { readonly bodyLimitBytes: number },
): HttpFailure {
  const status = statusOf(error);
  const code = systemErrorCode(error) ?? "";
  const detail = error instanceof Error ? error.message : "";
  const because = detail === "" ? "" : `: ${detail}`;
  if (status >= 500) return failure(status, "INTERNAL", "internal error");
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return failure(
        413,
        "BODY_TOO_LARGE",
        `the request body is larger than ${options.bodyLimitBytes} bytes`,
      );
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
      return failure(400, "INVALID_JSON", "the request body is empty where JSON was announced");
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return failure(400, "INVALID_JSON", "the request body is not valid JSON");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return failure(415, "UNSUPPORTED_MEDIA_TYPE", "the request body must be application/json");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return failure(400, "INVALID_REQUEST", "the content length does not match the body");
    case "FST_ERR_BAD_URL":
      return failure(400, "INVALID_URL", "the URL is not well encoded");
    case "FST_ERR_VALIDATION":
      return failure(400, "INVALID_REQUEST", `the request is not valid${because}`);
  }
  const own = code === "" || code.startsWith("FST_") ? "INVALID_REQUEST" : code;
  return failure(status, own, detail === "" ? "the request was refused" : detail);
}

function statusOf(error: unknown): number {
  if (typeof error !== "object" || error === null || !("statusCode" in error)) return 500;
  const { statusCode } = error;
  const valid = typeof statusCode === "number" && statusCode >= 400 && statusCode <= 599;
  return valid ? statusCode : 500;
}

function failure(status: number, code: string, message: string): HttpFailure {
  return { status, body: errorBody(code, message.slice(0, LIMITS.httpBodyBytesMax)) };
}
