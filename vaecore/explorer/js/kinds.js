// @ts-check
// Every kind of explorer, by the name that Python gives it.

import { analogies } from "./analogies.js";
import { beta } from "./beta.js";
import { classes } from "./classes.js";
import { completion } from "./completion.js";
import { digit } from "./digit.js";
import { gap } from "./gap.js";
import { latent } from "./latent.js";
import { training } from "./training.js";

/** @import { Kind } from "./types.d.ts" */

/** @type {Record<string, Kind<any>>} */
export const KINDS = { analogies, beta, classes, completion, digit, gap, latent, training };
