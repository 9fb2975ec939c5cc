package redisstore

import (
	"cmp"
	"crypto/tls"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// What servers say in faults that a test cannot bring about, or that only other versions
// say, so this test looks in.
func TestRefused(t *testing.T) {
	for answer, want := range map[string]error{
		"LOADING Redis is loading the dataset in memory":                                                                                       storage.ErrUnavailable,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":                                               storage.ErrUnavailable,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.":                                     storage.ErrUnavailable,
		"OOM command not allowed when used memory > 'maxmemory'. script: 3f, on @user_script:12.":                                              storage.ErrUnavailable,
		"ERR Error running script (call to f_3f): @user_script:12: @user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.": storage.ErrUnavailable,
		"READONLY You can't write against a read only replica. script: 3f, on @user_script:12.":                                                storage.ErrUnavailable,
		"CLUSTERDOWN The cluster is down":                                                                       storage.ErrUnavailable,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                      storage.ErrUnavailable,
		"NOREPLICAS Not enough good replicas to write.":                                                         storage.ErrUnavailable,
		"TRYAGAIN Multiple keys request during rehashing of slot":                                               storage.ErrUnavailable,
		"ERR max number of clients reached":                                                                     storage.ErrUnavailable,
		"ERR something that no version has said yet":                                                            storage.ErrUnavailable,
		"NOAUTH Authentication required.":                                                                       storage.ErrUnfit,
		"WRONGPASS invalid username-password pair or user is disabled.":                                         storage.ErrUnfit,
		"ERR invalid password":                                                                                  storage.ErrUnfit,
		"ERR AUTH <password> called without any password configured for the default user.":                      storage.ErrUnfit,
		"NOPERM this user has no permissions to run the 'evalsha' command":                                      storage.ErrUnfit,
		"ERR The user executing the script can't run this command or subcommand script: 3f, on @user_script:5.": storage.ErrUnfit,
		"ERR ACL failure in script: User lettergate has no permissions to run the 'set' command":                storage.ErrUnfit,
		"WRONGTYPE Operation against a key holding the wrong kind of value script: 3f, on @user_script:7.":      storage.ErrUnfit,
		"ERR Error running script (call to f_3f): @user_script:1: WRONGTYPE Operation":                          storage.ErrUnfit,
		"FOREIGN the key holds no record":                                                                       storage.ErrUnfit,
		"MOVED 3999 127.0.0.1:6381":                                                                             storage.ErrUnfit,
		"CROSSSLOT Keys in request don't hash to the same slot":                                                 storage.ErrUnfit,
		"ERR This instance has cluster support disabled":                                                        storage.ErrUnfit,
		"ERR DB index is out of range":                                                                          storage.ErrUnfit,
		"ERR unknown command 'EVALSHA', with args beginning with: '3f' '1' 'lettergate:r hunter2":               storage.ErrUnfit,
	} {
		err := refused(answer)
		if !errors.Is(err, want) {
			t.Errorf("%q is %v, want %v", answer, err, want)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "script: 3f") {
			t.Errorf("%q is shown as %q", answer, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"5.0.14": false, "6.0.16": false, "6.1.240": false, "6.2.0": true, "7.0.15": true, "8.2.1": true, "255.255.255": true, "": true, "unstable": true,
	} {
		if got := newEnough(version); got != want {
			t.Errorf("version %q is new enough: %v, want %v", version, got, want)
		}
	}
}

// The order of entries is that of the keys, byte by byte, and none begins like another.
func TestMemberOrder(t *testing.T) {
	var keys []storage.Key
	for _, kind := range []storage.Kind{storage.User, storage.Username, storage.Grant} {
		for _, id := range []string{
			"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00\xff", "a\x01", "a\xff", "ab", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\xff", "\x01", "b",
		} {
			keys = append(keys, storage.Key{Kind: kind, ID: id})
		}
	}
	slices.SortFunc(keys, func(a, b storage.Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	for i, key := range keys {
		for _, other := range keys[i+1:] {
			if a, b := memberBase(key), memberBase(other); a >= b || strings.HasPrefix(b, a) {
				t.Errorf("%q is %q, %q is %q", key, a, other, b)
			}
		}
	}
}

func FuzzMember(f *testing.F) {
	f.Add("a", "b", int64(1))
	f.Add("a\x00", "a\x00\xff", int64(1924992000000))
	f.Add("a\x00\x01", "a", int64(-1))
	f.Fuzz(func(t *testing.T, id, other string, now int64) {
		a, b := storage.Key{Kind: storage.Grant, ID: id}, storage.Key{Kind: storage.Grant, ID: other}
		if a.Check() != nil || b.Check() != nil {
			return
		}
		m := newMark(now)
		key, got, ok := parseMember(memberBase(a) + string(m[:]))
		if !ok || key != a || got != m || got.made() != now {
			t.Errorf("parseMember of %q = %q, %v", id, key, ok)
		}
		if cmp.Compare(memberBase(a), memberBase(b)) != cmp.Compare(id, other) {
			t.Errorf("%q and %q are in another order in a group", id, other)
		}
		parseMember(id) // whatever is there, it does not panic
		parseRecord(a, []byte(id))
		parseGroups([]byte(id))
	})
}

// Redis keeps what is alive, and a little more, at the ends of time, too.
func TestLife(t *testing.T) {
	now := time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli()
	minute := time.Minute.Milliseconds()
	for _, c := range []struct {
		expires int64
		want    string
	}{
		{now + minute, "360000"}, {now, "300000"}, {now - minute, "240000"}, {now - 5*minute, "1"}, {now - 99*minute, "1"},
		{millis(time.Time{}), ""}, {never - 1, ""}, {millis(time.Unix(-1<<40, 0)), "1"}, {millis(time.Unix(1<<50, 0)), ""},
		{now + farOff.Milliseconds(), "3153600300000"}, {now + farOff.Milliseconds() + 1, ""},
	} {
		if got := life(now, c.expires); got != c.want {
			t.Errorf("life of what expires in %dms = %q, want %q", c.expires-now, got, c.want)
		}
		if b := bound(now, c.expires); b < c.expires || b < never && b-c.expires < time.Hour.Milliseconds() {
			t.Errorf("bound of what expires in %dms = %d", c.expires-now, b-now)
		}
	}
	if millis(time.UnixMilli(math.MaxInt64)) == never {
		t.Error("something expires in the end, and is kept for ever")
	}
}

func TestTLSConfig(t *testing.T) {
	for _, url := range []string{"rediss://a", "rediss+cluster://a,b", "rediss+sentinel://a/m"} {
		l, err := parseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := l.tls()
		if err != nil || cfg == nil || cfg.MinVersion < tls.VersionTLS12 || cfg.InsecureSkipVerify {
			t.Errorf("%s: %+v, %v", url, cfg, err)
		}
	}
}
