// jsPDF; it decodes PNG itself.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
const { jsPDF } = createRequire(join(process.argv[2], "x.js"))("jspdf");

function make(name, options, inside = () => {}) {
  const document = new jsPDF(options);
  document.setFontSize(10);
  for (let n = 0; n < 50; n++) document.text(`Position ${n}: article ${n * 37}, 3 pieces`, 20, 10 + 5 * n);
  inside(document);
  writeFileSync(`out/${name}.pdf`, Buffer.from(document.output("arraybuffer")));
}

make("plain", {});
make("compressed", { compress: true });
for (const logo of readdirSync("logos").filter((name) => name.endsWith(".png")))
  for (const how of ["NONE", "FAST"])
    make(`${logo} ${how}`, {}, (document) => document.addImage(new Uint8Array(readFileSync(`logos/${logo}`)), "PNG", 120, 10, 60, 30, undefined, how));
for (const userPassword of ["", "u"])
  make(userPassword ? "user password" : "owner password", { encryption: { userPassword, ownerPassword: userPassword ? "" : "o", userPermissions: ["print"] } });
