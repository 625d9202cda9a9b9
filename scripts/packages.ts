// What makes build/firmware/ a component of ESP-IDF, a library of Arduino and PlatformIO and a module of Zephyr, all at
// once: each reads its own manifest at the places it knows, and the same include/ and src/.
//
//   CMakeLists.txt, Kconfig, idf_component.yml, esp-idf/    ESP-IDF
//   library.properties, keywords.txt, examples/             Arduino
//   library.json                                            PlatformIO
//   zephyr/                                                 Zephyr
//   ports/, examples/                                       storage and whole devices for other machines
//
// Version and address stand in package.json and here; the manifests in firmware/ have @VERSION@ and @URL@ for them.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FIRMWARE = join(ROOT, "firmware");
/** The project has no public address yet; manifests must name one. */
const URL = "https://ampoule.example";

/** Folders and files of firmware/, and where they go. Longer names first: the first that fits counts. */
const PLACES: [from: string, to: string][] = [
  ["arduino/examples", "examples"],
  ["arduino/src", "src"],
  ["esp-idf/Kconfig", "Kconfig"],
  ["esp-idf", "esp-idf"],
  ["examples", "examples"],
  ["ports", "ports"],
  ["zephyr", "zephyr"],
  ["idf_component.yml", "idf_component.yml"],
  ["keywords.txt", "keywords.txt"],
  ["library.json", "library.json"],
  ["library.properties", "library.properties"],
  ["ampoule.pc.in", "ampoule.pc.in"],
  ["README.md", "README.md"],
];

/** ESP-IDF and plain CMake look at the same file. */
const ESP_IDF = `if(ESP_PLATFORM)
  include("\${CMAKE_CURRENT_LIST_DIR}/esp-idf/component.cmake")
  return()
endif()
`;

/** Files beside those of the library itself, by their names in the folder. */
export function packageFiles(): Map<string, string> {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const files = new Map<string, string>();
  for (const name of filesBelow(FIRMWARE)) {
    const place = PLACES.find(([from]) => name === from || name.startsWith(`${from}/`));
    if (place === undefined) continue;
    const text = readFileSync(join(FIRMWARE, name), "utf8");
    const to = place[1] + name.slice(place[0].length);
    files.set(to, text.replaceAll("@VERSION@", version).replaceAll("@URL@", URL));
  }
  const plain = readFileSync(join(FIRMWARE, "CMakeLists.txt"), "utf8").replaceAll("@VERSION@", version);
  files.set("CMakeLists.txt", `${ESP_IDF}\n${plain}`);
  files.set("LICENSE", readFileSync(join(ROOT, "LICENSE"), "utf8"));
  return files;
}

function filesBelow(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.filter((name) => statSync(join(folder, name)).isFile()).sort();
}
