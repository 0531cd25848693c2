import { describe, expect, it } from "vitest";
import { describeState, isWell, parseInspect } from "./container-state.ts";

/** As Docker 20.10 prints it, without what is not read. */
const INSPECT = [
  {
    Id: "0f3a",
    RestartCount: 2,
    State: {
      Status: "running",
      ExitCode: 0,
      OOMKilled: false,
      Health: { Status: "unhealthy", FailingStreak: 3 },
    },
    Config: { User: "1000:1000", Labels: { "com.docker.compose.service": "trustee-1" } },
    HostConfig: {
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      Memory: 536_870_912,
      SecurityOpt: ["no-new-privileges:true"],
      Init: true,
    },
  },
  {
    Id: "77b1",
    RestartCount: 0,
    State: { Status: "exited", ExitCode: 0, OOMKilled: false },
    Config: { User: "root", Labels: { "com.docker.compose.service": "archive-owner" } },
    HostConfig: { ReadonlyRootfs: false, CapDrop: null, Memory: 67_108_864, SecurityOpt: null },
  },
];

const read = parseInspect(JSON.stringify(INSPECT));
const [trustee, owner] = [read[0]!, read[1]!];

describe("what the engine says of containers", () => {
  it("is read as docker inspect prints it", () => {
    expect(trustee).toEqual({
      service: "trustee-1",
      id: "0f3a",
      status: "running",
      health: "unhealthy",
      exitCode: 0,
      restarts: 2,
      outOfMemory: false,
      user: "1000:1000",
      readOnlyRoot: true,
      capabilitiesDropped: ["ALL"],
      memoryLimitBytes: 536_870_912,
      securityOptions: ["no-new-privileges:true"],
      hasInit: true,
    });
    expect(owner).toMatchObject({ health: null, capabilitiesDropped: [], hasInit: false });
  });

  it("is refused when a container is not of compose", () => {
    const stray = [{ ...INSPECT[0], Config: { Labels: {} } }];
    expect(() => parseInspect(JSON.stringify(stray))).toThrow("no compose service");
    expect(() => parseInspect("{}")).toThrow("no list");
  });

  it("reads as a person would say it", () => {
    expect(describeState(trustee)).toBe("running, unhealthy");
    expect(describeState({ ...trustee, health: null })).toBe("running");
    expect(describeState({ ...trustee, status: "exited", exitCode: 137 })).toBe("exited (137)");
  });
});

describe("a container is well", () => {
  it("when a server runs and its health check does not say otherwise", () => {
    expect(isWell({ ...trustee, health: "healthy" })).toBe(true);
    expect(isWell({ ...trustee, health: null })).toBe(true);
    expect(isWell(trustee)).toBe(false);
    expect(isWell({ ...trustee, health: "starting" })).toBe(false);
    expect(isWell({ ...trustee, health: "healthy", status: "exited" })).toBe(false);
  });

  it("when what does one thing has ended with 0", () => {
    expect(isWell(owner)).toBe(true);
    expect(isWell({ ...owner, exitCode: 1 })).toBe(false);
    expect(isWell({ ...owner, status: "running" })).toBe(false);
  });
});
