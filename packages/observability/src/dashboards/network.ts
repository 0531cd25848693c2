import type { DashboardSpec } from "../panel.ts";

export const network: DashboardSpec = {
  uid: "quorate-network",
  title: "Quorate / P2P",
  description: "Who is connected with whom, how far away, and what the gossip carries.",
  rows: [
    {
      title: "Connections",
      panels: [
        {
          kind: "state",
          title: "Trustees connected",
          note: "1: this node has an open connection to that trustee.",
          width: 16,
          queries: [{ expr: "trustee_connected", legend: "{{instance}} → {{node}}" }],
        },
        {
          kind: "time",
          title: "Round trip",
          unit: "s",
          note: "Pings every ten seconds.",
          mayBeEmpty: true,
          queries: [{ expr: "trustee_round_trip_seconds", legend: "{{instance}} → {{node}}" }],
        },
        {
          kind: "time",
          title: "Clock offset",
          unit: "s",
          note: "The listener's clock minus the time in the trustee's last vote, travel included. Beyond 30 s votes are refused.",
          mayBeEmpty: true,
          queries: [
            {
              expr: "max by (node) (trustee_clock_offset_seconds)",
              legend: "{{node}}, largest",
            },
            {
              expr: "min by (node) (trustee_clock_offset_seconds)",
              legend: "{{node}}, smallest",
            },
          ],
        },
        {
          kind: "time",
          title: "Mesh",
          note: "Peers in the mesh of the vote topic; D is 6, from 4 to 12, or all there are.",
          queries: [{ expr: "gossip_mesh_peers", legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Open connections",
          queries: [
            { expr: "gossip_connections", legend: "{{instance}}" },
            { expr: "gossip_stranger_connections", legend: "{{instance}} strangers" },
          ],
        },
        {
          kind: "time",
          title: "Muted peers",
          note: "Kept out for a while because they flooded.",
          queries: [{ expr: "gossip_muted_peers", legend: "{{instance}}" }],
        },
      ],
    },
    {
      title: "Messages",
      panels: [
        {
          kind: "time",
          title: "Messages",
          unit: "ops",
          queries: [
            {
              expr: "sum by (direction, verdict) (rate(gossipsub_messages_total[1m]))",
              legend: "{{direction}} {{verdict}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Copies dropped",
          unit: "ops",
          queries: [
            {
              expr: "sum by (instance) (rate(gossipsub_duplicates_dropped_total[1m]))",
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Dropped before the signature",
          unit: "ops",
          queries: [
            {
              expr: "sum by (reason) (rate(gossip_refused_total[1m]))",
              legend: "{{reason}}",
            },
          ],
        },
      ],
    },
  ],
};
