package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"
)

// derived is one secret after HKDF-Extract, with the keys of its purposes.
type derived struct {
	id  string
	tag tag
	key []byte

	// The keys are expanded once per purpose, because a MAC stands on the path of
	// every request and the expansion costs more than the MAC itself. Readers take
	// the map without a lock; a writer replaces it by a longer copy.
	purposes atomic.Pointer[map[Purpose]*purposeKeys]
	grow     sync.Mutex
}

// purposeKeys are immutable once made and safe for concurrent use.
type purposeKeys struct {
	mac  []byte
	aead cipher.AEAD
}

// maxPurposes bounds what a ring keeps, should a caller ever let a stranger
// choose the purpose. Beyond it keys are derived each time.
const maxPurposes = 256

func (d *derived) keys(p Purpose) *purposeKeys {
	if known := d.purposes.Load(); known != nil {
		if k := (*known)[p]; k != nil {
			return k
		}
	}
	k := &purposeKeys{mac: d.expand("mac", p), aead: newAEAD(d.expand("seal", p))}
	d.grow.Lock()
	defer d.grow.Unlock()
	next := map[Purpose]*purposeKeys{}
	if known := d.purposes.Load(); known != nil {
		if len(*known) >= maxPurposes {
			return k
		}
		next = maps.Clone(*known)
	}
	next[p] = k
	d.purposes.Store(&next)
	return k
}

// expand derives the 32-byte key of one use of one purpose.
func (d *derived) expand(use string, p Purpose) []byte {
	key, err := hkdf.Expand(sha256.New, d.key, use+"\x00"+string(p), 32)
	if err != nil {
		panic("secrets: HKDF of 32 bytes failed: " + err.Error()) // only an over-long output fails
	}
	return key
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("secrets: AES refused a 32-byte key: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("secrets: GCM refused AES: " + err.Error())
	}
	return aead
}

func (d *derived) mac(p Purpose, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, d.keys(p).mac)
	var n [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

func (d *derived) aead(p Purpose) cipher.AEAD { return d.keys(p).aead }
