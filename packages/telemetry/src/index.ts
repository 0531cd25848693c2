export { type RouteAccess, TOKEN_SUBPROTOCOL, type TokenSource, tokensOf } from "./api-access.ts";
export { type ApiDescription, COSTLY, EVENTS_SUBPROTOCOL } from "./api-plugins.ts";
export {
  CHECK,
  decimal,
  flag,
  list,
  OPERATIONS_ROUTES,
  oneOf,
  orNull,
  REFUSAL,
  type RouteDescription,
  type Schema,
  shape,
  text,
  time,
  whole,
} from "./api-schema.ts";
export {
  API_ROLES,
  type ApiRole,
  type ApiToken,
  createApiToken,
  isApiRole,
  isTokenName,
  type NewApiToken,
  parseTokenList,
  readTokensFile,
} from "./api-tokens.ts";
export {
  DISK_VOLUMES,
  type DiskSpace,
  type DiskVolume,
  DiskWatch,
  diskMetrics,
} from "./disk-space.ts";
export { TelemetryError } from "./errors.ts";
export { addEventRoute, createEventFeed, type EventFeed, type FeedSocket } from "./event-feed.ts";
export { type ErrorBody, errorBody } from "./http-errors.ts";
export { TELEMETRY_LIMITS } from "./limits.ts";
export { createLogger, type FlushableLogger, type LoggerOptions, type LogLevel } from "./logger.ts";
export { createMetrics, type Metrics, type MetricsSettings, type MetricsText } from "./metrics.ts";
export {
  createOpsServer,
  type HealthReport,
  type OpsServer,
  type OpsServerOptions,
  type ReadyCheck,
  type ReadyReport,
  readyWhenAllPass,
} from "./ops-server.ts";
export { addStaticPage, type StaticFile } from "./static-page.ts";
export { systemClock } from "./system-clock.ts";
export { systemRandom } from "./system-random.ts";
export { createTracing, type Tracing, type TracingOptions } from "./tracing.ts";
