// Package keys holds the signing keys of one issuer and changes them while tokens
// are out.
//
// For each algorithm there is a current key, which signs, a next one, which is
// published so that everybody has it before it signs its first token, and a
// previous one, which is kept until the last token that it signed is over. A
// rotation moves each a step on. The keys are one record, keys/set, sealed with
// the deployment's secret; all replicas agree because each change replaces exactly
// the version that was read (storage.Update).
//
// The invariant: at every moment each token that is within its life verifies,
// here, at the other replicas, and wherever somebody has cached the key set for no
// longer than its max-age. Therefore a next key is used no earlier than the
// max-age and two polls after it was published (one poll until the last replica
// publishes it, one to spare), the first key of an algorithm excepted, and a
// previous key goes no earlier than a token's life and two polls after it signed
// for the last time. Only a forced [Ring.Rotate] breaks this, for a key that has
// leaked.
//
// A set that is damaged or sealed with an unknown secret is an error for the
// operator; it is never replaced. A request reads one immutable snapshot and never
// waits for the store.
package keys
