#!/usr/bin/env node
// Runs the program of the package for this platform, which npm has installed
// beside this one.
"use strict";

const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const name = `@millrace/${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/millrace${process.platform === "win32" ? ".exe" : ""}`);
} catch {
  console.error(`millrace: the package ${name} is not installed. Either there is no build for this platform, or npm was told to leave out optional dependencies.`);
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
// The program ends in good order and in its own time: a signal is passed on. From a
// terminal the program gets it too, and takes both for one. On Windows the console
// sends it to both, and kill() would end the program without it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (process.platform !== "win32") child.kill(signal);
  });
}
child.on("error", (error) => {
  console.error(`millrace: ${program}: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
