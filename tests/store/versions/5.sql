BEGIN TRANSACTION;
CREATE TABLE daemons (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	url TEXT, 
	seen_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE deliveries (
	hook TEXT NOT NULL, 
	mark TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	PRIMARY KEY (hook, mark)
);
CREATE TABLE flow_edits (
	flow TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	"by" TEXT, 
	restored INTEGER, 
	content BLOB NOT NULL, 
	is_settled INTEGER NOT NULL, 
	PRIMARY KEY (flow, number)
);
CREATE TABLE flow_locks (
	flow TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	daemon TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (flow, run_id)
);
CREATE TABLE flow_versions (
	hash TEXT NOT NULL, 
	path TEXT NOT NULL, 
	flows TEXT NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "flow_versions" VALUES('c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','ok.yml','{"ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','bad.yml','{"bad.yml": "steps:\n  - {name: a, type: jq, jq: {expression: ''.a.b'', data_key: nope}}\n"}');
INSERT INTO "flow_versions" VALUES('a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','loop.yml','{"loop.yml": "steps:\n  - {name: items, type: jq, jq: {expression: ''[range(5)]''}}\n  - {name: each, type: flow_loop, flow_loop: {path: ok.yml, data_key: items}}\n", "ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','out.yml','{"out.yml": "steps:\n  - {name: e, type: exit, exit: {message: enough}}\n"}');
INSERT INTO "flow_versions" VALUES('68cbef2993d74cbd95aaae55c9b0cccfb6f183ef85ccf32c2877039591d3b394','wait.yml','{"wait.yml": "steps:\n  - {name: w, type: sleep, sleep: {seconds: 86400}}\n"}');
INSERT INTO "flow_versions" VALUES('fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','long.yml','{"long.yml": "concurrency: {on_conflict: queue}\nsteps:\n  - {name: first, type: set_fact, set_fact: {value: 1}}\n  - {name: w, type: sleep, sleep: {seconds: 1}}\n  - {name: last, type: set_fact, set_fact: {value: ''{{ first + 1 }}''}}\n"}');
CREATE TABLE items (
	queue TEXT NOT NULL, 
	item TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	run_id TEXT, 
	name TEXT, 
	put_at FLOAT NOT NULL, 
	priority INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	error TEXT, 
	ended_at FLOAT, 
	daemon TEXT, 
	PRIMARY KEY (queue, item, flow)
);
CREATE TABLE journal (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	data TEXT, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "journal" VALUES('20261121T202923249-rzqi4ucx',1000000000,'',0,'dispatched',1.79529296326346206663e+09,'{"worker": "fb6bef87", "pid": 30417}');
INSERT INTO "journal" VALUES('20261121T202923249-rzqi4ucx',1000000002,'a',1,'succeeded',1.79529296392670607569e+09,'{"result":[0,1,2],"started_at":1795292963.921452,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T202923249-rzqi4ucx',1000000004,'b',1,'succeeded',1.79529296393409490582e+09,'{"result":[0,1,2],"started_at":1795292963.926829,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T202923249-rzqi4ucx',1000000005,'',0,'ended',1.79529296393440389637e+09,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T202943289-vfl7pibj',1000000000,'',0,'dispatched',1.79529298329516291622e+09,'{"worker": "10c9a41c", "pid": 30430}');
INSERT INTO "journal" VALUES('20261121T202943289-vfl7pibj',1000000002,'a',1,'failed',1.79529298371720290187e+09,'{"error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}},"started_at":1795292983.716435,"then":"fail","errors":[{"step":"a","code":"data_key_missing","error":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}}]}');
INSERT INTO "journal" VALUES('20261121T202943289-vfl7pibj',1000000004,'',0,'ended',1.79529298371779799463e+09,'{"status":"failed","error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"},"step":"a"}}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000000,'',0,'dispatched',1.79529300331436896323e+09,'{"worker": "d0963822", "pid": 30833}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000002,'items',1,'succeeded',1.7952930038855490684e+09,'{"result":[0,1,2,3,4],"started_at":1795293003.88506,"key":"items"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000005,'each[1]/a',1,'succeeded',1.79529300389031696324e+09,'{"result":[0,1,2],"started_at":1795293003.886735,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000008,'each[1]/b',1,'succeeded',1.79529300389975905423e+09,'{"result":[0,1,2],"started_at":1795293003.89044,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000010,'each[2]/a',1,'succeeded',1.79529300390024495123e+09,'{"result":[0,1,2],"started_at":1795293003.898587,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000012,'each[2]/b',1,'succeeded',1.79529300390043210981e+09,'{"result":[0,1,2],"started_at":1795293003.900284,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000014,'each[4]/a',1,'succeeded',1795293003.90066,'{"result":[0,1,2],"started_at":1795293003.900523,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000016,'each[4]/b',1,'succeeded',1795293003.90077,'{"result":[0,1,2],"started_at":1795293003.900684,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000018,'each[5]/a',1,'succeeded',1.79529300390098404882e+09,'{"result":[0,1,2],"started_at":1795293003.900829,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000020,'each[5]/b',1,'succeeded',1.7952930039011480808e+09,'{"result":[0,1,2],"started_at":1795293003.90103,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000021,'each[3]/a',1,'succeeded',1.79529300390169692042e+09,'{"result":[0,1,2],"started_at":1795293003.899925,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000023,'each[3]/b',1,'succeeded',1795293003.9019,'{"result":[0,1,2],"started_at":1795293003.901733,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000024,'each',1,'succeeded',1.79529300390499210356e+09,'{"result":[{"__input__":0,"__errors__":[],"__loop_index__":1,"__flow_path__":"ok.yml","__timestamp__":"20261121203003","__run_id__":"20261121T203003309-zlj5nomy","__job_id__":"20261121T203003309-zlj5nomy","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":1,"__errors__":[],"__loop_index__":2,"__flow_path__":"ok.yml","__timestamp__":"20261121203003","__run_id__":"20261121T203003309-zlj5nomy","__job_id__":"20261121T203003309-zlj5nomy","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":2,"__errors__":[],"__loop_index__":3,"__flow_path__":"ok.yml","__timestamp__":"20261121203003","__run_id__":"20261121T203003309-zlj5nomy","__job_id__":"20261121T203003309-zlj5nomy","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":3,"__errors__":[],"__loop_index__":4,"__flow_path__":"ok.yml","__timestamp__":"20261121203003","__run_id__":"20261121T203003309-zlj5nomy","__job_id__":"20261121T203003309-zlj5nomy","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":4,"__errors__":[],"__loop_index__":5,"__flow_path__":"ok.yml","__timestamp__":"20261121203003","__run_id__":"20261121T203003309-zlj5nomy","__job_id__":"20261121T203003309-zlj5nomy","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]}],"started_at":1795293003.885615,"key":"each"}');
INSERT INTO "journal" VALUES('20261121T203003309-zlj5nomy',1000000025,'',0,'ended',1795293003.90516,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T203023319-sdlg7obu',1000000000,'',0,'dispatched',1.79529302333226394657e+09,'{"worker": "17ee59d8", "pid": 31177}');
INSERT INTO "journal" VALUES('20261121T203023319-sdlg7obu',1000000003,'e',1,'succeeded',1.7952930239191360474e+09,'{"result":"enough","started_at":1795293023.918263,"key":"e","control":{"exit":"enough"}}');
INSERT INTO "journal" VALUES('20261121T203023319-sdlg7obu',1000000004,'',0,'ended',1.79529302391930389404e+09,'{"status":"exited","error":{"code":"exited","message":"enough","details":{}}}');
INSERT INTO "journal" VALUES('20261121T203043339-bdxse2mo',1000000000,'',0,'dispatched',1.79529304334178400033e+09,'{"worker": "1c183013", "pid": 31761}');
INSERT INTO "journal" VALUES('20261121T203043339-bdxse2mo',1000000002,'w',1,'waiting',1.795293043878412962e+09,'{"kind":"sleep","until":1795379443.878355}');
INSERT INTO "journal" VALUES('20261121T203043339-bdxse2mo',1000000003,'',0,'parked',1.79529304387858295441e+09,'{"wake_at":1795379443.8783572}');
INSERT INTO "journal" VALUES('20261121T203043339-bdxse2mo',1000000001,'w',1,'started',1.79529304387815189358e+09,NULL);
INSERT INTO "journal" VALUES('20261121T203043904-dmyfxnqj',1000000000,'',0,'dispatched',1.79529304421591591836e+09,'{"worker": "8da2d339", "pid": 32374}');
INSERT INTO "journal" VALUES('20261121T203043904-dmyfxnqj',1000000002,'first',1,'succeeded',1.79529304456842303278e+09,'{"result":1,"started_at":1795293044.567922,"key":"first"}');
INSERT INTO "journal" VALUES('20261121T203043904-dmyfxnqj',1000000003,'w',1,'started',1795293044.56854,NULL);
CREATE TABLE logs (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	level TEXT NOT NULL, 
	step TEXT NOT NULL, 
	message TEXT NOT NULL, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "logs" VALUES('20261121T202943289-vfl7pibj',1000000003,1.79529298371722888941e+09,'error','a','attempt 1 failed (fail): data_key_missing: data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__');
INSERT INTO "logs" VALUES('20261121T203023319-sdlg7obu',1000000002,1.79529302391872596744e+09,'info','e','exit: enough');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','5');
CREATE TABLE outbox (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	queue TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (run_id, seq)
);
CREATE TABLE queue_states (
	queue TEXT NOT NULL, 
	is_paused INTEGER NOT NULL, 
	"by" TEXT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (queue)
);
CREATE TABLE removals (
	run_id TEXT NOT NULL, 
	PRIMARY KEY (run_id)
);
CREATE TABLE runs (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	flow_hash TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	trigger_by TEXT NOT NULL, 
	status TEXT NOT NULL, 
	input TEXT NOT NULL, 
	params TEXT, 
	timeout_seconds FLOAT, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	error TEXT, 
	schedule_id TEXT, 
	slot FLOAT, 
	wake_at FLOAT, 
	retry_of TEXT, 
	attempt INTEGER DEFAULT '1' NOT NULL, 
	bytes INTEGER DEFAULT '0' NOT NULL, 
	parent TEXT, 
	parent_path TEXT, 
	parent_index INTEGER, 
	item TEXT, 
	daemon TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('20261121T202923249-rzqi4ucx','ok.yml','c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','api','api','succeeded','null',NULL,NULL,1.79529296324979305266e+09,1.79529296326346206663e+09,1.79529296393440389637e+09,NULL,NULL,NULL,NULL,NULL,1,661,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T202943289-vfl7pibj','bad.yml','f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','api','api','failed','null',NULL,NULL,1.7952929832894840241e+09,1.79529298329516291622e+09,1.79529298371779799463e+09,'{"code": "data_key_missing", "message": "data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__", "details": {"data_key": "nope"}, "step": "a"}',NULL,NULL,NULL,NULL,1,1343,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T203003309-zlj5nomy','loop.yml','a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','api','api','succeeded','null',NULL,NULL,1.79529300330993199343e+09,1.79529300331436896323e+09,1795293003.90516,NULL,NULL,NULL,NULL,NULL,1,4732,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T203023319-sdlg7obu','out.yml','3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','api','api','exited','null',NULL,NULL,1.79529302331999492644e+09,1.79529302333226394657e+09,1.79529302391930389404e+09,'{"code": "exited", "message": "enough", "details": {}}',NULL,NULL,NULL,NULL,1,584,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T203043339-bdxse2mo','wait.yml','68cbef2993d74cbd95aaae55c9b0cccfb6f183ef85ccf32c2877039591d3b394','api','api','waiting','null',NULL,NULL,1.79529304333931899071e+09,1.79529304334178400033e+09,NULL,NULL,NULL,NULL,1.79537944387835717201e+09,NULL,1,378,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T203043904-dmyfxnqj','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','running','null',NULL,NULL,1795293043.90406,1.79529304421591591836e+09,NULL,NULL,NULL,NULL,NULL,NULL,1,4,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T203043915-cgxqwh5f','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','queued','null',NULL,NULL,1.79529304391509604457e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,4,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE schedules (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	name TEXT, 
	rule TEXT, 
	input TEXT, 
	timeout_seconds FLOAT, 
	active INTEGER NOT NULL, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	added_by TEXT, 
	added_at FLOAT NOT NULL, 
	anchor FLOAT, 
	last_slot FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "schedules" VALUES('c556625a3147','ok.yml','flow',NULL,'{"override": null, "in_force": {"every_seconds": 3600.0, "timezone": "UTC", "catchup": "latest", "catchup_max": 100, "params": {}}}',NULL,NULL,1,0,NULL,1.79529296282441306114e+09,1.79529296282441306114e+09,NULL);
INSERT INTO "schedules" VALUES('2c40ec154144','ok.yml','api','hourly','{"override": {"every_seconds": 3600.0, "catchup": "latest", "catchup_max": 100, "params": {}}, "in_force": {"every_seconds": 3600.0, "timezone": "UTC", "catchup": "latest", "catchup_max": 100, "params": {}}}','{"a": 1}',NULL,1,0,'api',1.79529296323651695252e+09,1.79529296323651695252e+09,NULL);
CREATE TABLE slots (
	schedule_id TEXT NOT NULL, 
	slot FLOAT NOT NULL, 
	outcome TEXT NOT NULL, 
	run_id TEXT, 
	reason TEXT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (schedule_id, slot)
);
CREATE INDEX runs_by_item ON runs (item) WHERE item IS NOT NULL;
CREATE INDEX runs_by_trigger ON runs ("trigger", status, id);
CREATE INDEX runs_by_version ON runs (flow_hash);
CREATE INDEX runs_by_status ON runs (status, id);
CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX runs_by_parent ON runs (parent, parent_path, parent_index) WHERE parent IS NOT NULL;
CREATE INDEX runs_by_flow ON runs (flow, status, id);
CREATE INDEX schedules_by_flow ON schedules (flow);
CREATE INDEX deliveries_by_end ON deliveries (expires_at);
CREATE INDEX flow_edits_unsettled ON flow_edits (flow) WHERE is_settled = 0;
CREATE INDEX items_due ON items (queue, flow, priority DESC, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX items_by_run ON items (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX items_by_state ON items (queue, state, ended_at);
CREATE INDEX outbox_by_queue ON outbox (queue, at);
COMMIT;
