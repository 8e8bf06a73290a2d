// A web server with `git http-backend` behind it, for one account. It needs no packages, and says its port.
//
//   node git.mjs CERTIFICATE KEY REPOSITORIES NAME:PASSWORD
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const [cert, key, root, account] = process.argv.slice(2);
const authorization = `Basic ${Buffer.from(account).toString("base64")}`;

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  if (request.headers.authorization !== authorization) {
    return response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
  }
  const { pathname, search } = new URL(request.url, "https://git");
  const env = {
    ...process.env,
    GIT_PROJECT_ROOT: root,
    GIT_HTTP_EXPORT_ALL: "1",
    GIT_PROTOCOL: request.headers["git-protocol"] ?? "",
    REQUEST_METHOD: request.method,
    PATH_INFO: pathname,
    QUERY_STRING: search.slice(1),
    CONTENT_TYPE: request.headers["content-type"] ?? "",
  };
  const program = spawn("git", ["http-backend"], { env, stdio: ["pipe", "pipe", "inherit"] });
  // It need not read what it refuses.
  program.stdin.on("error", () => {});
  request.pipe(program.stdin);
  const chunks = [];
  program.stdout.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
    const output = Buffer.concat(chunks);
    const end = output.indexOf("\r\n\r\n");
    const headers = output.subarray(0, end).toString().split("\r\n").map((line) => line.split(": "));
    const status = headers.find(([name]) => name === "Status")?.[1] ?? "200";
    response.writeHead(parseInt(status, 10), Object.fromEntries(headers.filter(([name]) => name !== "Status")));
    response.end(output.subarray(end + 4));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
