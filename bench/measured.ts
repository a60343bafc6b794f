/** One value of one round: `metric` names its unit last, and `side` is who it was measured of. */
export type Measured = { readonly side: string; readonly metric: string; readonly value: number };
