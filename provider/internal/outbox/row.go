package outbox

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// groups is how many lists the jobs are spread over, so that no single one
// becomes the place where every process of a deployment meets.
const groups = 16

// Failed jobs are tried again after firstPause, then after twice as long each
// time, up to maxPause.
const (
	firstPause = 5 * time.Second
	maxPause   = 5 * time.Minute
)

// remains is how long a row outlives its job, so that a scanner can say that it
// was never handled before the store forgets it.
const remains = time.Hour

// rowVersion is the encoding's. Rows of another one belong to a newer process
// and are left alone.
const rowVersion = 1

// A row is the stored form of a job.
type row struct {
	V        int             `json:"v"`
	Kind     Kind            `json:"kind"`
	Payload  json.RawMessage `json:"payload"`
	Attempts int             `json:"attempts"` // failed ones
	Expires  int64           `json:"expires"`  // unix milliseconds
}

func group(i int) string { return fmt.Sprintf("outbox/%d", i) }

func groupOf(id string) string {
	h := fnv.New32a()
	h.Write([]byte(id))
	return group(int(h.Sum32() % groups))
}

// record encodes r for the store, due at the given time.
func (r row) record(id string, due time.Time) (storage.Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return storage.Record{}, err
	}
	return storage.Record{
		Key:     storage.Key{Kind: storage.Outbox, ID: id},
		Groups:  []string{groupOf(id)},
		Sort:    due.UnixMilli(),
		Value:   value,
		Expires: time.UnixMilli(r.Expires).Add(remains),
		Version: storage.NewVersion(),
	}, nil
}

// parse decodes a row; ok is false for what this version did not write.
func parse(rec storage.Record) (r row, ok bool) {
	if json.Unmarshal(rec.Value, &r) != nil || r.V != rowVersion {
		return row{}, false
	}
	return r, true
}

func (r row) expired(now time.Time) bool { return now.UnixMilli() >= r.Expires }

// pause is how long to wait after a job has failed n times before.
func pause(n int) time.Duration {
	if n > 10 { // 5 s << 10 is beyond maxPause, and the shift must not overflow
		return maxPause
	}
	return min(firstPause<<n, maxPause)
}
