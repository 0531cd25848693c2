import { register } from "prom-client";
import { expect, test } from "vitest";
import { createMetrics } from "./metrics.ts";

test("a metric counts, and its text is what Prometheus reads", async () => {
  const metrics = createMetrics({ prefix: "quorate_" });
  const votes = metrics.counter({ name: "votes_total", help: "Votes.", labels: ["result"] });
  votes.inc({ result: "accepted" });
  votes.inc({ result: "accepted" }, 2);
  metrics.gauge({ name: "peers", help: "Peers." }).set({}, 7);
  const size = metrics.histogram({ name: "frame_bytes", help: "Frame.", buckets: [10, 100] });
  size.observe({}, 50);
  const text = await metrics.text();
  expect(metrics.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(text).toContain("# TYPE quorate_votes_total counter\n");
  expect(text).toContain('\nquorate_votes_total{result="accepted"} 3\n');
  expect(text).toContain("\nquorate_peers 7\n");
  expect(text).toContain('\nquorate_frame_bytes_bucket{le="10"} 0\n');
  expect(text).toContain('\nquorate_frame_bytes_bucket{le="100"} 1\n');
  expect(text).toContain("\nquorate_frame_bytes_sum 50\n");
});

test("initial label sets and metrics without labels are born at 0", async () => {
  const metrics = createMetrics();
  const labels = ["type"] as const;
  const initial = [{ type: "a" }, { type: "b" }];
  metrics.counter({ name: "c_total", help: "c", labels, initial });
  metrics.gauge({ name: "g", help: "g", labels, initial });
  metrics.histogram({ name: "h_seconds", help: "h", labels, initial, buckets: [1] });
  metrics.counter({ name: "bare_total", help: "bare" });
  const text = await metrics.text();
  for (const type of ["a", "b"]) {
    expect(text).toContain(`\nc_total{type="${type}"} 0\n`);
    expect(text).toContain(`\ng{type="${type}"} 0\n`);
    expect(text).toContain(`\nh_seconds_count{type="${type}"} 0\n`);
  }
  expect(text).toContain("\nbare_total 0\n");
});

test("the same name with the same shape is the same metric, and is not reset", async () => {
  const metrics = createMetrics();
  const options = { name: "c_total", help: "c", labels: ["a", "b"] as const };
  const first = metrics.counter(options);
  first.inc({ a: "1", b: "2" });
  const second = metrics.counter({ ...options, labels: ["b", "a"], initial: [{ a: "1", b: "2" }] });
  expect(second).toBe(first);
  expect(await metrics.text()).toContain('\nc_total{a="1",b="2"} 1\n');
});

test("the same name with other labels, kind, buckets or collect throws", () => {
  const metrics = createMetrics();
  metrics.counter({ name: "c_total", help: "c", labels: ["a"] });
  metrics.histogram({ name: "h_seconds", help: "h", buckets: [1] });
  metrics.gauge({ name: "g", help: "g", collect: () => 1 });
  expect(() => metrics.counter({ name: "c_total", help: "c", labels: ["b"] })).toThrow("before");
  expect(() => metrics.counter({ name: "c_total", help: "c" })).toThrow("before");
  expect(() => metrics.gauge({ name: "c_total", help: "c", labels: ["a"] })).toThrow("before");
  expect(() => metrics.histogram({ name: "h_seconds", help: "h", buckets: [2] })).toThrow("before");
  expect(() => metrics.gauge({ name: "g", help: "g", collect: () => 2 })).toThrow("before");
});

test("a collected gauge is read at each scrape, and one that fails does not blank the rest", async () => {
  const metrics = createMetrics();
  let value = 0;
  metrics.gauge({ name: "live", help: "l", collect: () => (value += 1) });
  metrics.gauge({
    name: "broken",
    help: "b",
    collect: () => {
      throw new Error("gone");
    },
  });
  expect(await metrics.text()).toContain("\nlive 1\n");
  const text = await metrics.text();
  expect(text).toContain("\nlive 2\n");
  expect(text).toContain("\nbroken Nan\n");
});

test("a collected gauge with labels is a bug", () => {
  expect(() =>
    createMetrics().gauge({ name: "g", help: "g", labels: ["a"], collect: () => 1 }),
  ).toThrow("collect");
});

test("a label that was not declared, a lowered counter and a bad name are bugs", () => {
  const metrics = createMetrics();
  const counter = metrics.counter<string>({ name: "c_total", help: "c", labels: ["a"] });
  expect(() => counter.inc({ b: "1" })).toThrow("b");
  expect(() => counter.inc({ a: "1" }, -1)).toThrow("decrease");
  expect(() => metrics.counter({ name: "not a name", help: "c" })).toThrow("name");
});

test("process metrics keep their usual names and all series carry the default labels", async () => {
  const metrics = createMetrics({ prefix: "quorate_", defaultLabels: { node: "n1" } });
  metrics.counter({ name: "c_total", help: "c" }).inc({});
  const text = await metrics.text();
  expect(text).toMatch(/\nnodejs_eventloop_lag_p99_seconds\{node="n1"\} /);
  expect(text).toMatch(/\nnodejs_heap_size_used_bytes\{node="n1"\} \d/);
  expect(text).toContain('\nquorate_c_total{node="n1"} 1\n');
});

test("two factories share nothing, and the global registry stays empty", async () => {
  const one = createMetrics();
  const two = createMetrics();
  one.counter({ name: "c_total", help: "c" }).inc({});
  two.counter({ name: "c_total", help: "c" });
  expect(await two.text()).toContain("\nc_total 0\n");
  expect(register.getMetricsAsArray()).toEqual([]);
});
