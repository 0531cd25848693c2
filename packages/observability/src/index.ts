export { type AlertRule, readAlerts } from "./alert-rules.ts";
export { catalogue, type MetricEntry, seriesNames } from "./catalogue.ts";
export { DASHBOARDS } from "./dashboards/all.ts";
export { generatedFiles } from "./generated-files.ts";
export { FOREIGN_METRICS, lintObservability } from "./lint.ts";
export type { DashboardSpec, PanelSpec } from "./panel.ts";
export { namesIn } from "./promql-names.ts";
