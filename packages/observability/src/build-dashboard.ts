import {
  type Dashboard,
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  RowBuilder,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { type DashboardSpec, panelOf } from "./panel.ts";

const TAG = "quorate";

/** A dashboard as Grafana imports it. The same input gives the same output. */
export function buildDashboard(spec: DashboardSpec): Dashboard {
  const builder = new DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.description)
    .tags([TAG])
    .refresh("15s")
    .time({ from: "now-1h", to: "now" })
    .timezone("browser")
    .readonly()
    .withVariable(
      new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    )
    .link(
      new DashboardLinkBuilder("Quorate")
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .asDropdown(true)
        .keepTime(true)
        .includeVars(true),
    )
    .link(
      new DashboardLinkBuilder("Runbooks")
        .type(DashboardLinkType.Link)
        .tooltip("What each alert means and what to do: deploy/runbooks in the checkout")
        // No host is known here: whoever serves the checkout maps this path.
        .url("/runbooks/")
        .targetBlank(true),
    );
  for (const row of spec.rows) {
    builder.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(panelOf(panel));
  }
  return builder.build();
}
