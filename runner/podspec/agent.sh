# The agent of a job's containers: process 1, told what to do on stdin (docs/decisions/001-stages-and-the-journal.md).
#
#   sh -c TEXT agent LOGS SCRIPTS build
#   sh -c TEXT agent LOGS SCRIPTS helper [KEEP_BYTES]
#
# Law: POSIX sh, nothing but builtins in the build container (setsid and sleep are used where they are there). The text
# stands in every pod's command, and in the variable `_agent` when it starts, so it holds no secret; comments and
# indentation go when it is loaded, and the lines from `#helper{` to `#}` go where the helper's part is not needed.
# Kubernetes expands `$(NAME)` and `$$` in commands: neither may occur here. Names begin with `_`, so that no variable of
# the image's environment is changed for the stages.
#
# Processes: main waits and reaps; its child `reader` obeys commands, and is started again when a job kills everything it
# can reach. A stage has a guard, around a wrapper, around the shell: the wrapper records the end, the guard records the
# wrapper's death. In the helper `recorder` alone writes the journal and `pump` alone writes to stdout and stderr.

unset _agent
set +eux
_logs=$1 _scripts=$2 _mode=$3
#helper{
command -v runner-helper-agent >/dev/null 2>&1 &&
  exec runner-helper-agent --logs "$1" --scripts "$2" ${4:+--keep "$4"}
#}
_umask=`umask`
umask 0
_setsid= _sleep= _default=
command -v setsid >/dev/null 2>&1 && _setsid=setsid
# Shells ignore INT and QUIT in the background, and but for bash none can give them back to a stage.
[ "$BASH_VERSION" ] || { env --default-signal=INT,QUIT true && _default='env --default-signal=INT,QUIT'; } >/dev/null 2>&1
command -v sleep >/dev/null 2>&1 && _sleep=sleep
for _shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do
  [ -x "$_shell" ] && break
done

# A second; without sleep some busy milliseconds, which is all the grace such an image can give.
nap() {
  if [ "$_sleep" ]; then sleep 1; else
    _nap=0
    while [ "$_nap" -lt 20000 ]; do _nap=$((_nap + 1)); done
  fi
}

# Whether a process lives; a zombie does not, and a system without /proc has to be believed.
alive() {
  [ "$1" ] && kill -0 "$1" || return 1
  read -r _stat <"/proc/$1/stat" || return 0
  case $_stat in *") Z "*) return 1 ;; esac
} 2>/dev/null

# Whether a word is STAGE-N: whatever else lies in the logs directory is the job's own.
attempt() {
  case $1 in *-*) ;; *) return 1 ;; esac
  case ${1%-*} in '' | *[!a-z0-9_]*) return 1 ;; esac
  case ${1##*-} in '' | *[!0-9]*) return 1 ;; esac
}

# Read ATTEMPT's exit record into _code and _oom; false when it is not there or not whole.
exited() {
  _end=
  read -r _code _oom _end <"$_logs/$1.exit"
  case $_code$_oom in *[!0-9]* | ???????????????*) return 1 ;; esac
  [ "$_end" = . ]
} 2>/dev/null

# Read what stands in ATTEMPT's guard file: whose it is, its wrapper, its process. The job can write there too, so
# nothing but a process id becomes one: 0, 1 and negative numbers would name many processes.
owner() {
  _owner= _wrapper= _pid=
  while read -r _key _value; do
    case $_value in 0* | 1 | *[!0-9]*) _value= ;; esac
    case $_key in w) _wrapper=$_value ;; p) _pid=$_value ;; *) _owner=$_key ;; esac
  done <"$_logs/$1.started"
}

# Mark attempts of this container whose wrapper is gone without a record; $1 stands in for a wrapper not yet known.
lose() {
  for _file in "$_logs"/*.started; do
    _lost=${_file##*/}
    _lost=${_lost%.started}
    [ -e "$_file" ] && owner "$_lost" && [ "$_owner" = "$_mode" ] && [ ! -e "$_logs/$_lost.lost" ] &&
      ! exited "$_lost" && ! alive "${_wrapper:-$1}" && echo 'lost .' >"$_logs/$_lost.lost"
  done
} 2>/dev/null

# Collect these processes and all below them into _tree: for images without setsid, where a stage has no group.
tree() {
  _tree=" $* " _before=
  until [ "$_tree" = "$_before" ]; do
    _before=$_tree
    for _file in /proc/[0-9]*/stat; do
      read -r _stat <"$_file" || continue
      _child=${_stat%% *}
      set -- ${_stat##*) }
      case $_tree in *" $_child "*) continue ;; esac
      case $_tree in *" $2 "*) _tree="$_tree$_child " ;; esac
    done
  done
} 2>/dev/null

# Signal a stage: its group, or the tree below its shell.
signal() {
  kill "-$1" "-$2" || {
    tree "$2" $_tree
    kill "-$1" $_tree
  }
} 2>/dev/null

gone() {
  kill -0 "-$1" && return 1
  for _member in $1 $_tree; do alive "$_member" && return 1; done
  return 0
} 2>/dev/null

# stop ATTEMPT GRACE: TERM, GRACE seconds, KILL. Its `run` may be a moment old, so the process is waited for.
halt() {
  [ -e "$_logs/$1.started" ] && ! exited "$1" || return
  _tries=0 _tree=
  owner "$1"
  until [ "$_pid" ] || [ "$_tries" -ge 5 ]; do
    nap
    _tries=$((_tries + 1))
    owner "$1"
  done
  [ "$_pid" ] || return
  signal TERM "$_pid"
  _tries=0
  until gone "$_pid" || [ "$_tries" -ge "${2:-0}" ]; do
    nap
    _tries=$((_tries + 1))
  done
  gone "$_pid" || signal KILL "$_pid"
}

# Count the processes killed for memory in this container so far into _kills.
kills() {
  _kills=0
  for _file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    while read -r _key _value; do
      [ "$_key" = oom_kill ] && _kills=$_value
    done <"$_file"
  done
} 2>/dev/null

wrap() {
  kills
  _earlier=$_kills
  (
    [ "$_mode" = helper ] || umask "$_umask"
    trap - INT QUIT
    [ -x "$_shell" ] || {
      echo shell not found
      exit 1
    }
    exec $_default $_setsid "$_shell" "$_scripts/$1"
  ) >>"$_logs/output.log" 2>&1 &
  echo "p $!" >>"$_logs/$1.started"
  wait $!
  _code=$?
  kills
  echo "$_code $((_kills - _earlier)) ." >"$_logs/$1.exit"
}

# run ATTEMPT: who creates the guard file starts it. A repeat looks after the wrappers instead.
run() {
  (
    set -C
    echo "$_mode" >"$_logs/$1.started"
  ) 2>/dev/null || {
    lose 0
    return
  }
  {
    wrap "$1" &
    echo "w $!" >>"$_logs/$1.started"
    wait $!
    exited "$1" || echo 'lost .' >"$_logs/$1.lost"
#helper{
    poke "$_recorder"
#}
  } </dev/null >/dev/null 2>&1 &
  _guards="$_guards $!"
}

#helper{
size() {
  _size=`wc -c <"$_logs/output.log"` && _size=$((_size + 0))
}

moment() {
  _moment=`date +%s`.000000
}

# CONT is the one signal that does no harm when it meets another process by mistake.
poke() {
  case $1 in '' | 0* | 1 | *[!0-9]*) ;; *) kill -CONT "$1" ;; esac
} 2>/dev/null

# Sleep a tick, or until poked.
doze() {
  [ "$_poked" ] || {
    sleep "$_tick" &
    [ "$_poked" ] || wait $!
  }
  _poked=
}

emit() {
  printf '%s\n' "$*" >>"$_logs/journal"
  _news=1
}

# Remember a key of the journal; false when it was known.
once() {
  case $_known in *" $1 "*) return 1 ;; esac
  _known="$_known$1 "
}

# Mark the log's growth to $1, in steps of at most 64 KiB.
grow() {
  [ "$1" -gt "$_offset" ] || return 0
  moment
  while [ "$_offset" -lt "$1" ]; do
    _offset=$((_offset + 65536))
    [ "$_offset" -le "$1" ] || _offset=$1
    emit log "$_offset" "$_moment"
  done
}

# What an earlier recorder wrote.
replay() {
  while read -r _kind _subject _a _b _c _rest; do
    case $_kind in
      log) _place=$_subject ;;
      start) once "s:$_subject" && _place=$_a ;;
      ran) once "r:$_subject" && _place=$_a ;;
      lost) once "e:$_subject" && _place=$_a ;;
      exit) once "e:$_subject" && _place=$_c ;;
      note) once "n:$_subject" && _place=$_b ;;
    esac
    [ "$_place" -le "$_offset" ] || _offset=$_place
  done <"$_logs/journal"
}

# One look: first what the guard files say, then the log's size, so that an end has all of its output before it; then
# what the reader has asked for, which carries its own place; then the ends.
look() {
  _news= _seen=
  for _file in "$_logs"/*.started; do
    _attempt=${_file##*/}
    _attempt=${_attempt%.started}
    case $_known in *" e:$_attempt "*) continue ;; esac
    attempt "$_attempt" || continue
    if exited "$_attempt"; then
      _attempt=$_attempt/$_code/$_oom
    elif [ -e "$_logs/$_attempt.lost" ]; then
      _attempt=$_attempt/lost
    fi
    _seen="$_seen $_attempt"
  done
  size || return
  # A job has cut the log: give what is missing back as zeros, or its result would never be drained.
  [ "$_size" -ge "$_offset" ] || dd of="$_logs/output.log" bs=1 seek="$_offset" count=0 </dev/null 2>/dev/null
  requests
  grow "$_size"
  moment
  for _attempt in $_seen; do
    _record=${_attempt#*/}
    _attempt=${_attempt%%/*}
    once "r:$_attempt" && emit ran "$_attempt" "$_offset" "$_moment"
    case $_record in
      lost) once "e:$_attempt" && emit lost "$_attempt" "$_offset" "$_moment" ;;
      */*) once "e:$_attempt" && emit exit "$_attempt" "${_record%/*}" "${_record#*/}" "$_offset" "$_moment" ;;
    esac
  done
  [ -z "$_news" ] || { read -r _pump <"$_logs/.pump" && poke "$_pump"; } 2>/dev/null
}

requests() {
  while read -r _line <&4; do
    set -f
    set -- $_part$_line
    set +f
    _part=
    case $1 in
      start) once "s:$2" && grow "$3" && emit start "$2" "$_offset" "$4" ;;
      note) once "n:$2" && grow "$4" && emit note "$2" "$3" "$_offset" "$5" "$6" ;;
    esac
  done
  _part=$_part$_line
}

recorder() {
  trap _poked=1 CONT
  _known=' ' _offset=0 _place=0 _part= _poked= _turn=
  replay
  exec 4<"$_logs/.requests"
  while kill -0 "${$}" 2>/dev/null; do
    look
    [ "$_turn" = end ] && exit
    doze
    read -r _turn <"$_logs/.turn"
  done
}

# Ask the recorder for an entry at this place of the log.
request() {
  printf '%s\n' "$*" >>"$_logs/.requests"
  poke "$_recorder"
}

# Say a line to the manager: the pump writes it, for two writers could mix their lines.
answer() {
  printf '%s\n' "$*" >>"$_logs/.answers"
  poke "$_pump"
}

seek() {
  dd bs=65536 skip=$(($2 / 65536)) count=0 <&"$1"
  [ $(($2 % 65536)) = 0 ] || dd bs=$(($2 % 65536)) skip=1 count=0 <&"$1"
}

# Send the log up to $1. Each wait is repeated when a poke has cut it: two copies at once would mix the bytes.
send() {
  while [ "$_sent" -lt "$1" ]; do
    _count=$(($1 - _sent))
    [ "$_count" -le 65536 ] || _count=65536
    dd bs="$_count" count=1 <&4 &
    _poked=1
    while [ "$_poked" ]; do
      _poked=
      wait $!
    done
    _sent=$((_sent + _count)) _busy=1
  done
}

# resume TOKEN OFFSET LINE WINDOW: stream log and journal, until the next one replaces this process. It is told so by
# TERM, to leave a blocked pipe, and by the token's file, for bash loses a signal that meets it while it starts.
pump() {
  exec 6>&2 2>/dev/null 4<"$_logs/output.log" 5<"$_logs/journal" 7<"$_logs/.answers"
  # Without a child of its own, `$!` would name one of the reader's.
  : &
  wait $!
  trap 'kill $!; wait $!; exit' TERM
  trap _poked=1 CONT
  seek 4 "$2"
  [ "$3" = 0 ] || seek 5 "`head -n $(($3 - 1)) "$_logs/journal" | wc -c`"
  printf '\nsync %s\n' "$1" >&6
  printf '%s\n' "$1"
  _sent=$2 _taken=$2 _number=$3 _window=$4 _entry= _part= _poked= _goal=0
  [ "$3" = 0 ] || following
  _entry=
  while kill -0 "${$}" && read -r _now <"$_logs/.token" && [ "$_now" = "$1" ]; do
    _busy=
    read -r _ack _end <"$_logs/.ack" && [ "$_end" = . ] && [ "$_ack" -gt "$_taken" ] && _taken=$_ack
    while read -r _line <&7; do printf '%s\n' "$_line" >&6; done
    entries
    [ "$_busy" ] || doze
  done
}

# Send what lies in the window: the bytes up to an entry, then the entry.
entries() {
  while :; do
    _limit=$((_taken + _window))
    if [ "$_goal" -gt "$_limit" ]; then
      send "$_limit"
      return
    fi
    send "$_goal"
    [ -z "$_entry" ] || {
      printf 'j %s %s\n' "$_number" "$_entry" >&6
      _number=$((_number + 1)) _entry= _busy=1
    }
    following || return
  done
}

# Read the next entry into _entry and its place into _goal; a line may not be whole yet.
following() {
  read -r _line <&5 || {
    _part=$_part$_line
    return 1
  }
  _entry=$_part$_line _part=
  set -- $_entry
  case $1 in log) ;; exit) shift 3 ;; note) shift 2 ;; *) shift ;; esac
  _goal=$2
}

same() {
  case `sha256sum <"$1"` in "$2 "*) return 0 ;; esac
  return 1
} 2>/dev/null

seal() {
  [ "$1" = "$_name" ] && base64 -d <"$_scripts/.part" | gzip -dc >"$_scripts/.text" && same "$_scripts/.text" "$2" &&
    chmod 0777 "$_scripts/.text" && mv -f "$_scripts/.text" "$_scripts/$1"
  if same "$_scripts/$1" "$2"; then answer sealed "$1"; else answer bad "$1"; fi
}

serve() {
  case $1 in
    resume)
      echo "$2" >"$_logs/.token"
      [ -z "$_pump" ] || {
        kill "$_pump" 2>/dev/null
        wait "$_pump"
      }
      : >"$_logs/.answers"
      _acked=$3
      echo "$3 ." >"$_logs/.ack"
      pump "$2" "$3" "$4" "$5" &
      _pump=$!
      echo "$_pump" >"$_logs/.pump"
      ;;
    ack)
      [ "$2" -gt "$_acked" ] && _acked=$2
      echo "$_acked ." >"$_logs/.ack"
      poke "$_pump"
      ;;
    put)
      attempt "$2" || return
      [ "$3" != 0 ] || {
        : >"$_scripts/.part"
        _name=$2 _index=0
      }
      [ "$2" = "$_name" ] && [ "$3" = "$_index" ] && printf '%s\n' "$4" >>"$_scripts/.part" && _index=$((_index + 1))
      ;;
    seal) attempt "$2" && seal "$2" "$3" ;;
    begin)
      attempt "$2" || return
      size
      moment
      request start "$2" "$_size" "$_moment"
      ;;
    note)
      size
      request note "$2" "$3" "$_size" "$4" "$5"
      ;;
    ping)
      alive "$_recorder" || exit 1
      answer pong "$2"
      ;;
  esac
}
#}

# Obey commands until stdin ends; then wait for the stages. A read can fail for a signal: only thrice is an end.
reader() {
  lose ''
#helper{
  : >"$_logs/.token"
#}
  _guards= _fails=0 _name= _index= _pump= _acked=0
  while [ "$_fails" -lt 3 ]; do
    read -r _length _rest || {
      _fails=$((_fails + 1))
      continue
    }
    _fails=0
    [ "$_length" = "${#_rest}" ] || continue
    set -f
    set -- $_rest
    set +f
    case $1 in
      run) attempt "$2" && run "$2" ;;
      stop) attempt "$2" && halt "$2" "${3%%.*}" >/dev/null 2>&1 & ;;
#helper{
      *) serve "$@" ;;
#}
    esac
  done
  [ -z "$_guards" ] || wait $_guards
  exit 0
}

# TERM: leave at once. The kernel ends the children of process 1, nobody those of a plain process.
leave() {
  trap '' TERM INT HUP
  [ "${$}" = 1 ] || {
    kill $_reader $_recorder
    for _file in "$_logs"/*.started; do
      _attempt=${_file##*/}
      _attempt=${_attempt%.started}
      _tree=
      owner "$_attempt" && [ "$_owner" = "$_mode" ] && [ "$_pid" ] && ! exited "$_attempt" && {
        kill -KILL $_wrapper
        signal KILL "$_pid"
      }
    done
  } 2>/dev/null
  exit 143
}

trap leave TERM INT HUP
_reader= _recorder= _tree= _deaf=
#helper{
_tick=0.2
sleep 0.01 2>/dev/null || _tick=1
: >>"$_logs/output.log" >>"$_logs/journal" >>"$_logs/.requests"
#}
exec 3<&0 </dev/null
while :; do
#helper{
  : >"$_logs/.turn"
  alive "$_recorder" || {
    recorder 3<&- &
    _recorder=$!
  }
#}
  [ "$_deaf" ] && {
    sleep 60 &
    wait $!
    continue
  }
  reader <&3 3<&- &
  _reader=$!
  wait "$_reader" && {
    # Process 1 stays until it is told to go, where it can sleep: other containers' stages are still to be recorded.
    [ "${$}" = 1 ] && [ "$_sleep" ] || break
    _deaf=1
  }
  # All who were killed with it shall be gone when the new one looks for what is lost.
  nap
done
#helper{
echo end >"$_logs/.turn"
poke "$_recorder"
wait "$_recorder"
#}
exit 0
