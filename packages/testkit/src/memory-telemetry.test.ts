import { describe, expect, it } from "vitest";
import { memoryLogger } from "./memory-logger.ts";
import { memoryMetrics } from "./memory-metrics.ts";

describe("memoryLogger", () => {
  it("keeps records in order, a child's with its parents' fields", () => {
    const logger = memoryLogger();
    logger.info("one", { a: 1 });
    logger.child({ node: "n1" }).child({ part: "x" }).warn("two", { node: "n2" });
    expect(logger.records).toEqual([
      { level: "info", message: "one", fields: { a: 1 } },
      { level: "warn", message: "two", fields: { node: "n2", part: "x" } },
    ]);
  });

  it("drops the oldest beyond its bound", () => {
    const logger = memoryLogger({ recordsMax: 2 });
    for (const message of ["a", "b", "c"]) logger.debug(message);
    expect(logger.records.map((record) => record.message)).toEqual(["b", "c"]);
  });
});

describe("memoryMetrics", () => {
  it("adds counters up per label set, in whatever order the labels come", () => {
    const metrics = memoryMetrics();
    const counter = metrics.counter<"a" | "b">({ name: "c_total", help: "", labels: ["b", "a"] });
    counter.inc({ a: "1", b: "2" });
    counter.inc({ b: "2", a: "1" }, 2);
    expect(metrics.value("c_total", { a: "1", b: "2" })).toBe(3);
    expect(metrics.value("c_total", { a: "1", b: "9" })).toBeNull();
  });

  it("starts a metric without labels, and each initial label set, at 0", () => {
    const metrics = memoryMetrics();
    metrics.counter({ name: "plain_total", help: "" });
    metrics.counter<"k">({ name: "k_total", help: "", labels: ["k"], initial: [{ k: "x" }] });
    expect([metrics.value("plain_total"), metrics.value("k_total", { k: "x" })]).toEqual([0, 0]);
  });

  it("reads a gauge through its collect, and keeps a histogram's observations", () => {
    const metrics = memoryMetrics();
    let depth = 3;
    metrics.gauge({ name: "depth", help: "", collect: () => depth });
    depth = 4;
    const histogram = metrics.histogram({ name: "h_seconds", help: "", buckets: [1] });
    histogram.observe({}, 0.5);
    histogram.observe({}, 2);
    expect([metrics.value("depth"), metrics.observations("h_seconds")]).toEqual([4, [0.5, 2]]);
  });

  it("gives the same metric for the same shape, and throws for another", () => {
    const metrics = memoryMetrics();
    metrics.counter({ name: "x_total", help: "" }).inc({});
    metrics.counter({ name: "x_total", help: "" }).inc({});
    expect(metrics.value("x_total")).toBe(2);
    expect(() => metrics.counter<"k">({ name: "x_total", help: "", labels: ["k"] })).toThrow(
      "another shape",
    );
    expect(() => metrics.gauge({ name: "x_total", help: "" })).toThrow("another shape");
  });

  it("throws for labels that the metric does not have, and for a counter that would fall", () => {
    const metrics = memoryMetrics();
    const counter = metrics.counter<string>({ name: "y_total", help: "", labels: ["k"] });
    expect(() => counter.inc({ other: "1" })).toThrow("labels must be k");
    expect(() => counter.inc({ k: "1" }, -1)).toThrow("never falls");
    expect(() => metrics.value("never_made")).toThrow("never made");
  });
});
