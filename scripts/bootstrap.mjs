// The newcomer's entry: makes this checkout runnable, then runs what was asked.
//
//   node scripts/bootstrap.mjs <command> [args…]      (--help names the commands)
//
// Needs Node 20 or newer and nothing else; everything it fetches stays inside
// the checkout. All it has to say goes to standard error, so that the standard
// output of the program it starts stays clean.

const NODE_MAJOR_MIN = 20;

// Checked before anything is imported: an older Node fails on the modules' syntax.
const major = Number(process.versions.node.split(".")[0]);
if (major < NODE_MAJOR_MIN) {
  process.stderr.write(
    `Quorate needs Node ${NODE_MAJOR_MIN} or newer to set itself up; this is Node ${process.versions.node}.\n` +
      "Install one from your system's packages, with nvm (nvm install 24) or from the Node.js site.\n",
  );
  process.exit(1);
}

const { main } = await import("./lib/main.mjs");
process.exitCode = await main(process.argv.slice(2));
