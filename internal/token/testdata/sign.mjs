// Signs a JWT with ES384: argv is the private key's file, header and payload are
// the two lines of standard input.
import { readFileSync } from "node:fs";
import { sign } from "node:crypto";

const key = readFileSync(process.argv[2]);
const [header, payload] = readFileSync(0, "utf8").trim().split("\n");
const signed = [header, payload].map((s) => Buffer.from(s).toString("base64url")).join(".");
const signature = sign("sha384", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
process.stdout.write(signed + "." + signature.toString("base64url"));
