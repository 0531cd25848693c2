import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { APPS, FIXED_VENDORS, LAUNCHERS, LAYERS, NODE_BUILTINS, TEST_PACKAGES } from "./layers.ts";
import { type Import, readImports } from "./read-imports.ts";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>> | string>>;
}

interface Package {
  readonly name: string;
  readonly folder: string;
  readonly manifest: Manifest;
}

/** Which rules a source file stands under. */
type Role = "production" | "test support";

const SCOPE = "@quorate/";
const SOURCE_CONDITION = "@quorate/source";

const readManifest = (file: string): Manifest => JSON.parse(readFileSync(file, "utf8")) as Manifest;

/**
 * Walks the imports of all packages under `root`/packages, their tests excepted.
 * @returns each broken rule as "file:line imports x: why", sorted; empty when the layering holds.
 */
export function checkLayering(root: string): readonly string[] {
  const packages = readdirSync(join(root, "packages"), { withFileTypes: true })
    .filter((entry) => existsSync(join(root, "packages", entry.name, "package.json")))
    .map(({ name }): Package => {
      const folder = join(root, "packages", name);
      return { name, folder, manifest: readManifest(join(folder, "package.json")) };
    });
  const rootManifest = readManifest(join(root, "package.json"));
  return packages.flatMap((pkg) => checkPackage(pkg, packages, rootManifest, root)).sort();
}

function checkPackage(
  pkg: Package,
  packages: readonly Package[],
  rootManifest: Manifest,
  root: string,
): readonly string[] {
  if (LAYERS[pkg.name] === undefined) return [`packages/${pkg.name} has no layer`];
  const problems = [...checkManifest(pkg)];
  for (const [file, role] of rolesOf(pkg)) {
    const at = relative(root, file).split(sep).join("/");
    for (const found of readImports(readFileSync(file, "utf8"))) {
      const why = problemOf(found, file, role, pkg, packages, rootManifest);
      if (why !== null)
        problems.push(`${at}:${found.line} imports ${found.specifier ?? "something"}: ${why}`);
    }
  }
  return problems;
}

/** A dependency that is not allowed to be imported has no business in the manifest either. */
function checkManifest({ name, manifest }: Package): readonly string[] {
  const problems: string[] = [];
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    const local = dependency.startsWith(SCOPE) ? dependency.slice(SCOPE.length) : null;
    const launched = local !== null && APPS.includes(local) && LAUNCHERS.includes(name);
    const allowed =
      local === null
        ? (FIXED_VENDORS[name]?.includes(dependency) ?? true)
        : LAYERS[name]?.includes(local) === true || launched;
    if (!allowed) problems.push(`packages/${name} depends on ${dependency}`);
  }
  return problems;
}

/**
 * What ships is what the package's entries reach; what only tests reach may use what
 * tests may. A file that neither reaches stands under the rules of what ships.
 */
function rolesOf(pkg: Package): ReadonlyMap<string, Role> {
  const all = globSync("src/**/*.ts", { cwd: pkg.folder }).map((file) => join(pkg.folder, file));
  const isTest = (file: string): boolean => file.endsWith(".test.ts");
  const entries = Object.values(pkg.manifest.exports ?? {}).flatMap((target) => {
    const source = typeof target === "string" ? target : target[SOURCE_CONDITION];
    return source === undefined ? [] : [join(pkg.folder, source)];
  });
  const shipped = reach([...entries, join(pkg.folder, "src/main.ts")]);
  const tested = reach(all.filter(isTest));
  return new Map(
    all
      .filter((file) => !isTest(file))
      .map((file) => [
        file,
        !shipped.has(file) && tested.has(file) ? "test support" : "production",
      ]),
  );
}

function reach(from: readonly string[]): ReadonlySet<string> {
  const reached = new Set<string>();
  const queue = from.filter((file) => existsSync(file));
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    for (const { specifier } of readImports(readFileSync(file, "utf8"))) {
      if (specifier === null || !specifier.startsWith(".")) continue;
      const target = resolve(dirname(file), specifier);
      if (existsSync(target)) queue.push(target);
    }
  }
  return reached;
}

function problemOf(
  { specifier, typeOnly }: Import,
  file: string,
  role: Role,
  pkg: Package,
  packages: readonly Package[],
  rootManifest: Manifest,
): string | null {
  if (specifier === null) return "computed imports can't be checked";
  if (specifier.startsWith(".") || specifier.startsWith("/"))
    return relativeProblem(specifier, file, role, pkg);
  if (isBuiltin(specifier) || specifier.startsWith("node:"))
    return builtinProblem(specifier, typeOnly, role, pkg);
  if (specifier.startsWith(SCOPE)) return packageProblem(specifier, role, pkg, packages);
  const vendor = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
  if (FIXED_VENDORS[pkg.name] !== undefined && role === "production")
    return FIXED_VENDORS[pkg.name]?.includes(vendor) === true ? null : `no vendor of ${pkg.name}`;
  const allowed = { ...pkg.manifest.dependencies };
  if (role === "test support")
    Object.assign(allowed, pkg.manifest.devDependencies, rootManifest.devDependencies);
  return vendor in allowed ? null : `not among the dependencies of ${pkg.name} (${role})`;
}

function relativeProblem(specifier: string, file: string, role: Role, pkg: Package): string | null {
  const target = resolve(dirname(file), specifier);
  const inside = target.startsWith(join(pkg.folder, "src") + sep);
  // Scripts and JSON of the own package, such as a version, are its own; other packages are reached by name.
  const own = target.startsWith(pkg.folder + sep);
  if (!own || (!inside && target.endsWith(".ts"))) return "leaves its package's sources";
  if (!existsSync(target)) return "no such file";
  if (role === "production" && target.endsWith(".test.ts")) return "production imports a test";
  return null;
}

function builtinProblem(
  specifier: string,
  typeOnly: boolean,
  role: Role,
  pkg: Package,
): string | null {
  if (!specifier.startsWith("node:")) return "Node's modules are written node:…";
  const rule = role === "production" ? NODE_BUILTINS[pkg.name] : undefined;
  if (rule === "none") return `${pkg.name} knows nothing of Node`;
  if (rule === "types" && !typeOnly) return `${pkg.name} may use types of Node only`;
  return null;
}

function packageProblem(
  specifier: string,
  role: Role,
  pkg: Package,
  packages: readonly Package[],
): string | null {
  const [name = "", ...inside] = specifier.slice(SCOPE.length).split("/");
  const target = packages.find((other) => other.name === name);
  if (target === undefined) return "no such package";
  if (name === pkg.name) return "a package imports itself by relative path";
  if (APPS.includes(name)) return "nothing imports an app";
  const entry = ["", ...inside].join("/");
  const exported = target.manifest.exports ?? {};
  if (!(`.${entry}` in exported)) return `not exported by ${name}`;
  const forTests = role === "test support" && TEST_PACKAGES.includes(name);
  if (LAYERS[pkg.name]?.includes(name) !== true && !forTests)
    return `${pkg.name} may not import ${name} (${role})`;
  const declared = { ...pkg.manifest.dependencies };
  if (role === "test support") Object.assign(declared, pkg.manifest.devDependencies);
  return SCOPE + name in declared ? null : `not declared in ${pkg.name}'s package.json`;
}
