import type { DashboardSpec } from "../panel.ts";

const OURS = '{job=~"quorate-.*"}';

export const runtime: DashboardSpec = {
  uid: "quorate-runtime",
  title: "Quorate / Runtime",
  description: "The processes themselves: event loop, memory, CPU, descriptors, restarts.",
  rows: [
    {
      title: "Processes",
      panels: [
        {
          kind: "time",
          title: "Event-loop lag (p99)",
          unit: "s",
          red: 0.5,
          queries: [{ expr: `nodejs_eventloop_lag_p99_seconds${OURS}`, legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "CPU",
          unit: "percentunit",
          queries: [{ expr: `rate(process_cpu_seconds_total${OURS}[1m])`, legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Resident memory",
          unit: "bytes",
          queries: [{ expr: `process_resident_memory_bytes${OURS}`, legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Heap in use",
          unit: "bytes",
          queries: [{ expr: `nodejs_heap_size_used_bytes${OURS}`, legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Time in garbage collection",
          unit: "percentunit",
          mayBeEmpty: true,
          queries: [
            {
              expr: `sum by (instance) (rate(nodejs_gc_duration_seconds_sum${OURS}[1m]))`,
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "time",
          title: "File descriptors",
          unit: "percentunit",
          red: 0.8,
          queries: [
            { expr: `process_open_fds${OURS} / process_max_fds${OURS}`, legend: "{{instance}}" },
          ],
        },
        {
          kind: "time",
          title: "Free on the nodes' data disks",
          note: "Of the file systems that hold the journals of votes and accusations. etcd's and PostgreSQL's disks are watched where they are.",
          unit: "percentunit",
          red: 0.1,
          below: true,
          queries: [
            { expr: "disk_free_bytes / disk_size_bytes", legend: "{{instance}} {{volume}}" },
          ],
        },
        {
          kind: "time",
          title: "Up since",
          unit: "s",
          queries: [{ expr: `time() - process_start_time_seconds${OURS}`, legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Restarts in an hour",
          queries: [
            { expr: `changes(process_start_time_seconds${OURS}[1h])`, legend: "{{instance}}" },
          ],
        },
      ],
    },
  ],
};
