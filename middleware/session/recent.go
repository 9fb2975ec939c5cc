package session

import (
	"sync"
	"time"
)

// A recent remembers things for a while, in bounded memory: at least for life, and
// at most twice as long, unless more than size come in that time. It keeps two
// generations, and the older one goes when the younger is full or old enough, so
// that nothing ever has to be searched for what has expired.
type recent[V any] struct {
	life time.Duration
	size int

	mu         sync.Mutex
	young, old map[string]V
	turned     time.Time
}

func newRecent[V any](life time.Duration, size int) *recent[V] {
	return &recent[V]{life: life, size: size, young: make(map[string]V)}
}

// get returns what is remembered under name.
func (r *recent[V]) get(now time.Time, name string) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	return r.find(name)
}

// update replaces what is remembered under name by what change makes of it.
func (r *recent[V]) update(now time.Time, name string, change func(V, bool) V) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	v := change(r.find(name))
	r.young[name] = v
	return v
}

// first remembers name and says whether it was unknown.
func (r *recent[V]) first(now time.Time, name string, v V) (unknown bool) {
	r.update(now, name, func(before V, known bool) V {
		if unknown = !known; known {
			return before
		}
		return v
	})
	return unknown
}

func (r *recent[V]) find(name string) (V, bool) {
	v, ok := r.young[name]
	if !ok {
		v, ok = r.old[name]
	}
	return v, ok
}

func (r *recent[V]) turn(now time.Time) {
	age := now.Sub(r.turned)
	switch {
	case age >= 2*r.life:
		r.young, r.old = make(map[string]V), nil
	case age >= r.life || len(r.young) >= r.size:
		r.young, r.old = make(map[string]V), r.young
	default:
		return
	}
	r.turned = now
}
