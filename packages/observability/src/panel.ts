import * as common from "@grafana/grafana-foundation-sdk/common";
import {
  type DataSourceRef,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as StateBuilder } from "@grafana/grafana-foundation-sdk/statetimeline";
import { PanelBuilder as TimeBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

export interface Query {
  readonly expr: string;
  readonly legend?: string;
}

/** One panel, in the words that matter. */
export interface PanelSpec {
  readonly kind: "time" | "stat" | "state";
  readonly title: string;
  /** What a person should know before reading it. */
  readonly note?: string;
  readonly unit?: string;
  readonly queries: readonly Query[];
  /** From this value on it is red; with `below`, under it. */
  readonly red?: number;
  readonly below?: boolean;
  readonly stacked?: boolean;
  readonly width?: number;
  /** Its emptiness is no fault on a healthy cluster: nothing of the kind happened yet. */
  readonly mayBeEmpty?: true;
}

export interface DashboardSpec {
  /** Fixed: links to it hold over restarts and other Grafanas. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly rows: readonly { readonly title: string; readonly panels: readonly PanelSpec[] }[];
}

/** Whichever Prometheus the person chose: an id of one Grafana means nothing in another. */
export const DATASOURCE: DataSourceRef = { type: "prometheus", uid: "${datasource}" };

const WIDTH = 8;
const STAT_WIDTH = 4;
const HEIGHT = 8;
const STAT_HEIGHT = 4;

const targetsOf = (spec: PanelSpec): DataqueryBuilder[] =>
  spec.queries.map(({ expr, legend }, i) => {
    const query = new DataqueryBuilder()
      .refId(String.fromCharCode("A".charCodeAt(0) + i))
      .datasource(DATASOURCE)
      .expr(expr)
      .legendFormat(legend ?? "__auto");
    return spec.kind === "stat" ? query.instant() : query.range();
  });

function thresholdsOf({ red, below = false }: PanelSpec): ThresholdsConfigBuilder {
  const [base, beyond] = below ? ["red", "green"] : ["green", "red"];
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([
      { value: null, color: red === undefined ? "green" : (base ?? "green") },
      ...(red === undefined ? [] : [{ value: red, color: beyond ?? "red" }]),
    ]);
}

export type AnyPanel = StatBuilder | StateBuilder | TimeBuilder;

/** The panel as Grafana's own builders make it. */
export function panelOf(spec: PanelSpec): AnyPanel {
  const isStat = spec.kind === "stat";
  const builder =
    spec.kind === "stat"
      ? new StatBuilder().graphMode(common.BigValueGraphMode.None)
      : spec.kind === "state"
        ? new StateBuilder().mergeValues(true).rowHeight(0.9)
        : new TimeBuilder()
            .fillOpacity(spec.stacked === true ? 30 : 0)
            .stacking(
              new common.StackingConfigBuilder().mode(
                spec.stacked === true ? common.StackingMode.Normal : common.StackingMode.None,
              ),
            );
  builder
    .title(spec.title)
    .datasource(DATASOURCE)
    .span(spec.width ?? (isStat ? STAT_WIDTH : WIDTH))
    .height(isStat ? STAT_HEIGHT : HEIGHT)
    .thresholds(thresholdsOf(spec))
    .targets(targetsOf(spec));
  if (spec.note !== undefined) builder.description(spec.note);
  if (spec.unit !== undefined) builder.unit(spec.unit);
  return builder;
}
