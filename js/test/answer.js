// Reads {where, calls, options} as JSON, writes what ask() gives: how the Python tests use the package in Node.
import * as edgekit from "edgekit";
import { ask } from "./ask.js";

let asked = "";
for await (const chunk of process.stdin) asked += chunk;
const { where, calls, options } = JSON.parse(asked);
process.stdout.write(JSON.stringify(await ask(edgekit, where, calls, options)));
