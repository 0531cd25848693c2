import { drawPlan } from "./lib/plan.ts";
import { runPlan } from "./lib/run-seed.ts";

const seed = Number(process.argv[2] ?? 1);
const n = Number(process.argv[3] ?? 1);
for (let s = seed; s < seed + n; s++) {
  const t = process.cpuUsage();
  const r = await runPlan(drawPlan(s), {
    keepLines: 200,
    onLine: process.env.TRACE ? (l) => console.log(l) : null,
  });
  const c = process.cpuUsage(t);
  console.log(
    s,
    r.findings.slice(0, 3),
    r.digest.slice(0, 12),
    r.lines,
    (r.virtualMs / 1000).toFixed(0) + "s",
    JSON.stringify(r.transactions),
    ((c.user + c.system) / 1e6).toFixed(2) + " CPU s",
  );
}
