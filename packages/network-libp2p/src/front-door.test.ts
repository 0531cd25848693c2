import { multiaddr } from "@multiformats/multiaddr";
import { SimClock } from "@quorate/testkit";
import { expect, it } from "vitest";
import { FrontDoor, hostOf } from "./front-door.ts";
import { GOSSIP_LIMITS } from "./options.ts";

const address = (host: string, port = 4001) => multiaddr(`/ip4/${host}/tcp/${port}`);

function door(limits: Partial<typeof GOSSIP_LIMITS> = {}) {
  const clock = new SimClock();
  return { clock, door: new FrontDoor({ ...GOSSIP_LIMITS, ...limits }, { clock }) };
}

it("a host holds at most half of the handshakes, and gets a place back when one is over, however it ended", () => {
  const { door: d } = door();
  const tried = Array.from({ length: 80 }, () => ({}));
  const inside = tried.filter((connection) => d.admit(connection, address("10.0.0.1")));
  expect(inside).toHaveLength(GOSSIP_LIMITS.inboundPendingMax / 2);
  expect(d.admit({}, address("10.0.0.2"))).toBe(true);
  const [first] = inside;
  if (first === undefined) throw new Error("one was admitted");
  d.settle(first);
  d.settle(first);
  expect(d.admit({}, address("10.0.0.1"))).toBe(true);
  expect(d.admit({}, address("10.0.0.1"))).toBe(false);
});

it("a trustee's host is let in although strangers from a thousand hosts hold all other places", () => {
  const { door: d } = door();
  d.welcome(address("10.9.9.9"));
  for (let i = 0; i < 1_000; i++) d.admit({}, address(`10.1.${i >> 8}.${i & 255}`));
  expect(d.pendingCount).toBe(GOSSIP_LIMITS.inboundPendingMax);
  expect(d.admit({}, address("10.2.0.1"))).toBe(false);
  expect(d.admit({}, address("10.9.9.9", 50_000))).toBe(true);
});

it("strangers from however many hosts try so many handshakes a second, a trustee's host is not counted", async () => {
  const { clock, door: d } = door();
  let admitted = 0;
  const hammer = (host: number): void => {
    const connection = {};
    if (!d.admit(connection, address(`10.1.${host >> 8}.${host & 255}`))) return;
    admitted++;
    d.settle(connection);
  };
  for (let i = 0; i < 1_000; i++) hammer(i);
  expect(admitted).toBe(2 * GOSSIP_LIMITS.inboundStrangersPerSecondMax);
  await clock.advance(1_000);
  for (let i = 0; i < 1_000; i++) hammer(i);
  expect(admitted).toBe(3 * GOSSIP_LIMITS.inboundStrangersPerSecondMax);
  d.welcome(address("10.9.9.9"));
  expect(d.admit({}, address("10.9.9.9"))).toBe(true);
});

it("a host that became known during a handshake upsets no count", () => {
  const { door: d } = door({ inboundPendingMax: 2 });
  const first = {};
  d.admit(first, address("10.0.0.1"));
  d.welcome(address("10.0.0.1"));
  d.settle(first);
  expect(d.pendingCount).toBe(0);
  // One from each, for a host has half.
  expect(d.admit({}, address("10.0.0.2"))).toBe(true);
  expect(d.admit({}, address("10.0.0.3"))).toBe(true);
  expect(d.admit({}, address("10.0.0.4"))).toBe(false);
});

it.each([
  ["/ip4/10.0.0.1/tcp/4001", "10.0.0.1"],
  ["/ip6/2001:db8:1:2::1/tcp/4001", "2001:db8:1:2"],
  ["/ip6/2001:db8:1:2:ffff:1:2:3/tcp/4001", "2001:db8:1:2"],
  ["/ip6/::1/tcp/4001", "0:0:0:0"],
  ["/ip6/::ffff:102:304/tcp/4001", "mapped 102:304"],
  [
    "/ip4/10.0.0.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
    "relayed",
  ],
])("the host of %s is %s", (text, host) => {
  expect(hostOf(multiaddr(text))).toBe(host);
});
