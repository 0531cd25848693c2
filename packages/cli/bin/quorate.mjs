#!/usr/bin/env node
// The built command. In a source checkout use `npm run quorate -- …`, which
// also installs what is missing.
import "../dist/main.js";
