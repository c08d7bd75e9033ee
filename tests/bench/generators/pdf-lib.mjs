// pdf-lib.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
const { PDFDocument } = createRequire(join(process.argv[2], "x.js"))("pdf-lib");

async function make(name, inside = () => {}, options = {}) {
  const document = await PDFDocument.create();
  const page = document.addPage();
  for (let n = 0; n < 50; n++) page.drawText(`Position ${n}: article ${n * 37}, 3 pieces`, { x: 50, y: 800 - 14 * n, size: 10 });
  await inside(document, page);
  writeFileSync(`out/${name}.pdf`, await document.save(options));
}

await make("plain");
await make("plain table", undefined, { useObjectStreams: false });
for (const logo of readdirSync("logos").filter((name) => name.endsWith(".png")))
  await make(logo, async (document, page) => page.drawImage(await document.embedPng(readFileSync(`logos/${logo}`)), { x: 300, y: 600 }));
for (const file of readdirSync("attachments"))
  await make(`with ${file}`, (document) => document.attach(readFileSync(`attachments/${file}`), file, {}));
