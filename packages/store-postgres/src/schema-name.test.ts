import { parseClusterId, unwrap } from "@quorate/core";
import { StoreError } from "@quorate/ports";
import { expect, test } from "vitest";

import { checkSchemaName, schemaOf } from "./schema-name.ts";

const nameOf = (id: string): string => schemaOf(unwrap(parseClusterId(id)));

test("a cluster's schema is named after it", () => {
  expect(nameOf("main-net-1")).toBe("quorate_main_net_1");
});

test("two clusters never share a schema, however long their names", () => {
  const long = "a".repeat(62);
  const names = [
    nameOf(`${long}b`),
    nameOf(`${long}c`),
    nameOf("a-b"),
    nameOf("a--b"),
    nameOf("ab"),
  ];
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) {
    expect(name.length).toBeLessThanOrEqual(63);
    expect(checkSchemaName(name)).toBe(name);
  }
});

test.each(["", "Quorate", "a-b", "1a", "pg_x", 'a"; DROP SCHEMA public; --', "a".repeat(64)])(
  "a schema name that would need quoting is refused: %j",
  (name) => {
    expect(() => checkSchemaName(name)).toThrow(StoreError);
  },
);
