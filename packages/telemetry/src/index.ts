export { TelemetryError } from "./errors.ts";
export { type ErrorBody, errorBody } from "./http-errors.ts";
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
export { systemClock } from "./system-clock.ts";
export { systemRandom } from "./system-random.ts";
export { createTracing, type Tracing, type TracingOptions } from "./tracing.ts";
