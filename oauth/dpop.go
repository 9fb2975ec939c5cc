package oauth

import (
	"cmp"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxProofBytes = 8 << 10

	defaultProofWindow = time.Minute
	maxProofWindow     = 5 * time.Minute
	// A proof is remembered a little longer than it is accepted here: the clocks of
	// replicas that share a store differ.
	replaySlack = 5 * time.Second

	defaultNonceLife = 5 * time.Minute
	minNonceSecret   = 32
)

var (
	// ErrInvalidProof says that a DPoP proof is not good for the request, whatever the
	// reason. The reason is in the error's text, for logs.
	ErrInvalidProof = errors.New("oauth: invalid DPoP proof")

	// ErrUseNonce says that the proof has no nonce, or one that is no longer good, and
	// that the client is to make another proof with the one that
	// [DPoPVerifier.Nonce] returns.
	ErrUseNonce = errors.New("oauth: the DPoP proof needs a current nonce")
)

// DPoPConfig says which DPoP proofs a [DPoPVerifier] accepts. The zero value is ready
// for use by a service that runs once.
type DPoPConfig struct {
	// Algorithms are the signature algorithms allowed, of those that [JWTConfig]
	// knows. Default ES256, RS256, PS256 and EdDSA.
	Algorithms []string
	// Window is how far from now, in both directions, a proof may have been made.
	// Default 60 s, at most 5 minutes.
	Window time.Duration
	// Replays remembers which proofs have been used. Default a [ReplayMemory], which
	// is this process': replicas need one that they share, or a proof can be used
	// once at each.
	Replays ReplayStore
	// RequireNonce asks for a nonce of ours in each proof (RFC 9449 section 9), so
	// that proofs cannot be made for later.
	RequireNonce bool
	// NonceSecret is what nonces are derived from, 32 random bytes or more. Replicas
	// need the same one. Default drawn anew.
	NonceSecret []byte
	// NonceLife is for how long a nonce is given out. It is accepted for as long
	// again. Default 5 minutes, at least 1 second.
	NonceLife time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A DPoPVerifier checks DPoP proofs (RFC 9449 section 4.3), of requests with an access
// token and of those for one. It is safe for concurrent use.
type DPoPVerifier struct {
	cfg        DPoPConfig
	algorithms map[string]algorithm
}

// A DPoPRequest is what a proof has to be for.
type DPoPRequest struct {
	// Proof is the value of the DPoP header, of which a request has exactly one.
	Proof string
	// Method is the request's.
	Method string
	// URLs are those that the client may have used, scheme and host included. They
	// are compared as RFC 9449 asks: without query and fragment, and whatever the
	// spelling of escapes. They come from the configuration and the request's path,
	// never from its Host header.
	URLs []string
	// Token is the access token that came with the proof. Empty where there is none,
	// at the token endpoint.
	Token string
	// JKT is the thumbprint that the proof's key has to have. Empty where any key
	// will do.
	JKT string
}

// A DPoPProof is what a good proof says.
type DPoPProof struct {
	// JKT is the thumbprint of its key (RFC 7638, SHA-256).
	JKT string
	// RenewNonce says that the nonce was good but is not the one given out now. The
	// answer can bring that, in DPoP-Nonce, and save the client a refusal.
	RenewNonce bool
}

// NewDPoPVerifier returns a verifier for cfg, or an error that says which setting is
// wrong.
func NewDPoPVerifier(cfg DPoPConfig) (*DPoPVerifier, error) {
	v := &DPoPVerifier{cfg: cfg, algorithms: make(map[string]algorithm)}
	names := cfg.Algorithms
	if len(names) == 0 {
		names = []string{"ES256", "RS256", "PS256", "EdDSA"}
	}
	for _, name := range names {
		a, ok := algorithms[name]
		if !ok {
			return nil, fmt.Errorf("oauth: unknown signature algorithm %q for DPoP proofs", name)
		}
		v.algorithms[name] = a
	}
	v.cfg.Window = cmp.Or(cfg.Window, defaultProofWindow)
	if v.cfg.Window < 0 || v.cfg.Window > maxProofWindow {
		return nil, fmt.Errorf("oauth: the window for DPoP proofs, %v, is not between 0 and %v", cfg.Window, maxProofWindow)
	}
	v.cfg.NonceLife = cmp.Or(cfg.NonceLife, defaultNonceLife)
	if v.cfg.NonceLife < time.Second {
		return nil, fmt.Errorf("oauth: the life of a DPoP nonce, %v, is less than a second", cfg.NonceLife)
	}
	v.cfg.NonceSecret = slices.Clone(cfg.NonceSecret)
	switch {
	case len(v.cfg.NonceSecret) == 0:
		v.cfg.NonceSecret = make([]byte, minNonceSecret)
		rand.Read(v.cfg.NonceSecret)
	case len(v.cfg.NonceSecret) < minNonceSecret:
		return nil, fmt.Errorf("oauth: the secret for DPoP nonces has %d bytes and needs %d", len(cfg.NonceSecret), minNonceSecret)
	}
	if v.cfg.Now == nil {
		v.cfg.Now = time.Now
	}
	if v.cfg.Replays == nil {
		v.cfg.Replays = NewReplayMemory(0, v.cfg.Now)
	}
	return v, nil
}

// Algorithms returns the names of the signature algorithms allowed, in order, as they
// stand in metadata and challenges.
func (v *DPoPVerifier) Algorithms() []string { return slices.Sorted(maps.Keys(v.algorithms)) }

// Nonce returns the nonce that proofs are to have from now on, the value of
// DPoP-Nonce, or "" when none is asked for.
func (v *DPoPVerifier) Nonce() string {
	if !v.cfg.RequireNonce {
		return ""
	}
	return v.nonce(v.nonceSlot())
}

func (v *DPoPVerifier) nonceSlot() int64 {
	return v.cfg.Now().UnixNano() / int64(v.cfg.NonceLife)
}

// nonce derives the nonce of one period, so that there is nothing to be stored and
// replicas agree.
func (v *DPoPVerifier) nonce(slot int64) string {
	mac := hmac.New(sha256.New, v.cfg.NonceSecret)
	mac.Write(binary.BigEndian.AppendUint64([]byte("lettergate dpop nonce\x00"), uint64(slot)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// Verify returns what a proof says, if it is good for the request and has not been used
// before. The error is [ErrInvalidProof], [ErrUseNonce], [ErrUnavailable] when the
// replay store cannot tell, or that of ctx.
//
// What costs least is checked first. The proof is spent last: one that is refused for
// something else takes no memory, and can be used where it is good.
func (v *DPoPVerifier) Verify(ctx context.Context, r DPoPRequest) (DPoPProof, error) {
	if len(r.Proof) > maxProofBytes {
		return DPoPProof{}, badProof(errors.New("the proof is too long"))
	}
	parts, err := splitToken(r.Proof)
	if err != nil {
		return DPoPProof{}, badProof(err)
	}
	alg, key, err := v.readHeader(parts.header)
	if err != nil {
		return DPoPProof{}, badProof(fmt.Errorf("header: %w", err))
	}
	claims, err := parseMembers(parts.payload)
	if err != nil {
		return DPoPProof{}, badProof(fmt.Errorf("claims: %w", err))
	}
	made, err := v.checkClaims(claims, r)
	if err != nil {
		return DPoPProof{}, badProof(err)
	}
	proof := DPoPProof{}
	if proof.RenewNonce, err = v.checkNonce(claims); err != nil {
		return DPoPProof{}, err
	}
	print, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return DPoPProof{}, badProof(errors.New("header: jwk has no thumbprint"))
	}
	proof.JKT = base64.RawURLEncoding.EncodeToString(print)
	if r.JKT != "" && r.JKT != proof.JKT {
		return DPoPProof{}, badProof(errors.New("the proof is by another key than the token is bound to"))
	}
	if !v.algorithms[alg].verify(key.Key, parts.signed, parts.signature) {
		return DPoPProof{}, badProof(errors.New("the signature is wrong"))
	}
	if err := v.spend(ctx, proof.JKT, claims.text("jti"), made); err != nil {
		return DPoPProof{}, err
	}
	return proof, nil
}

// readHeader returns the algorithm and the public key that the proof brings along.
func (v *DPoPVerifier) readHeader(header []byte) (string, *jose.JSONWebKey, error) {
	m, err := parseMembers(header)
	if err != nil {
		return "", nil, err
	}
	typ, alg := m.text("typ"), m.text("alg")
	switch {
	case m.err != nil:
		return "", nil, m.err
	case !strings.EqualFold(typ, "dpop+jwt") && !strings.EqualFold(typ, "application/dpop+jwt"):
		return "", nil, errors.New("typ is not dpop+jwt")
	case m.has("crit") || m.has("b64"):
		return "", nil, errors.New("crit or b64 is not supported")
	}
	a, ok := v.algorithms[alg]
	if !ok {
		return "", nil, errors.New("alg is not allowed")
	}
	key, err := publicKey([]byte(m.raw("jwk")))
	if err != nil {
		return "", nil, err
	}
	if !a.fits(key.Key) {
		return "", nil, errors.New("jwk is no key for alg, or a weak one")
	}
	return alg, key, nil
}

// publicKey reads a JWK that may hold nothing private: a client that sends its private
// key has shown it to whoever saw the request (RFC 9449 section 4.3).
func publicKey(raw []byte) (*jose.JSONWebKey, error) {
	m, err := parseMembers(raw)
	if err != nil {
		return nil, errors.New("jwk is not one JSON object")
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if m.has(private) {
			return nil, errors.New("jwk has a private member")
		}
	}
	if m.has("use") && m.text("use") != "sig" {
		return nil, errors.New("jwk is not for signatures")
	}
	key := new(jose.JSONWebKey)
	if err := key.UnmarshalJSON(raw); err != nil || !key.IsPublic() {
		return nil, errors.New("jwk is no public key")
	}
	return key, nil
}

// checkClaims compares the proof with the request and returns when it was made.
func (v *DPoPVerifier) checkClaims(claims *members, r DPoPRequest) (time.Time, error) {
	method, htu, made := claims.text("htm"), claims.text("htu"), claims.date("iat")
	claims.text("jti")
	if r.Token != "" {
		sum := sha256.Sum256([]byte(r.Token))
		if ath := claims.text("ath"); claims.err == nil && ath != base64.RawURLEncoding.EncodeToString(sum[:]) {
			return made, errors.New("ath is that of another token")
		}
	}
	switch age := v.cfg.Now().Sub(made); {
	case claims.err != nil:
		return made, claims.err
	case method != r.Method:
		return made, errors.New("htm is another method")
	case age > v.cfg.Window:
		return made, errors.New("iat is too long ago")
	case age < -v.cfg.Window:
		return made, errors.New("iat is in the future")
	}
	htu, err := normalURL(htu)
	if err != nil {
		return made, fmt.Errorf("htu is %w", err)
	}
	for _, address := range r.URLs {
		if normal, err := normalURL(address); err == nil && normal == htu {
			return made, nil
		}
	}
	return made, errors.New("htu is another URL")
}

// checkNonce says whether a good nonce is the one before the current.
func (v *DPoPVerifier) checkNonce(claims *members) (renew bool, err error) {
	if !v.cfg.RequireNonce {
		return false, nil
	}
	if !claims.has("nonce") {
		return false, ErrUseNonce
	}
	nonce, slot := claims.text("nonce"), v.nonceSlot()
	if claims.err != nil {
		return false, badProof(claims.err)
	}
	if hmac.Equal([]byte(nonce), []byte(v.nonce(slot))) {
		return false, nil
	}
	if hmac.Equal([]byte(nonce), []byte(v.nonce(slot-1))) {
		return true, nil
	}
	return false, ErrUseNonce
}

// spend uses the proof up. The name of what is used holds the key, so that nobody can
// use up what another client would use.
func (v *DPoPVerifier) spend(ctx context.Context, jkt, id string, made time.Time) error {
	sum := sha256.Sum256([]byte(jkt + "\x00" + id))
	first, err := v.cfg.Replays.First(ctx, base64.RawURLEncoding.EncodeToString(sum[:]), made.Add(v.cfg.Window+replaySlack))
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("check DPoP proof: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !first:
		return badProof(errors.New("the proof has been used before"))
	}
	return nil
}

func badProof(reason error) error { return fmt.Errorf("%w: %w", ErrInvalidProof, reason) }
