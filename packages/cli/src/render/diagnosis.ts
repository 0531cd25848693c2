import type { Diagnosis, DoctorCheck } from "../doctor/check.ts";
import type { Style } from "../terminal.ts";
import { table } from "./table.ts";

/** A doctor's findings, each with what to do about it. */
export function renderDiagnosis({ ok, checks }: Diagnosis, style: Style): string {
  const paint = { ok: style.good, warn: style.warn, fail: style.bad };
  const rows = table(
    ["CHECK", "", "DETAIL"],
    checks.flatMap(({ name, level, detail, advice }) => [
      [name, paint[level](level), detail],
      ...(advice === null ? [] : [["", "", style.dim(`→ ${advice}`)]]),
    ]),
    style.dim,
  );
  const count = (level: DoctorCheck["level"]): number =>
    checks.filter((check) => check.level === level).length;
  const sum = `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} failed`;
  return `${rows}\n\n${ok ? style.good(sum) : style.bad(sum)}`;
}
