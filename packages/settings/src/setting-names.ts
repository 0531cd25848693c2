/** The environment variable of a setting: `etcd.hosts` is QUORATE_ETCD_HOSTS. */
export function envNameOf(path: string): string {
  return `QUORATE_${path
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(".", "_")
    .toUpperCase()}`;
}
