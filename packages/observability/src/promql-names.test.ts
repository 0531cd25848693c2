import { expect, test } from "vitest";
import { namesIn } from "./promql-names.ts";

test("names are found wherever an expression asks for them, and nothing else is", () => {
  expect(namesIn("sum by (node, le) (rate(a_total[5m]))")).toEqual(["a_total"]);
  expect(
    namesIn('histogram_quantile(0.99, sum by (le) (rate(b_bucket{stage="a_b"}[5m])))'),
  ).toEqual(["b_bucket"]);
  expect(namesIn('max(c) < 1e3 * max(d offset 5m) and on () up{job=~"x|y"} == 0')).toEqual([
    "c",
    "d",
    "up",
  ]);
  expect(namesIn('(count(ALERTS{alertstate="firing"}) or vector(0)) unless nan')).toEqual([
    "ALERTS",
  ]);
});
