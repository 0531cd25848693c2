import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

export interface AlertRule {
  readonly file: string;
  readonly alert: string;
  readonly expr: string;
  readonly severity: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  }[];
}

/** The alerts in deploy/prometheus/rules. promtool checks their form; this reads what it trusts. */
export function readAlerts(root: string): readonly AlertRule[] {
  const directory = join(root, "deploy/prometheus/rules");
  return readdirSync(directory)
    .filter((name) => name.endsWith(".yml"))
    .sort()
    .flatMap((file) => {
      const { groups } = parse(readFileSync(join(directory, file), "utf8")) as RuleFile;
      return groups.flatMap(({ rules }) =>
        rules.map(({ alert, expr, labels, annotations }) => ({
          file,
          alert,
          expr,
          severity: labels?.severity ?? "",
          annotations: annotations ?? {},
        })),
      );
    });
}
