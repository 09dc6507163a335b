// Words around a diagnosis; its sentences are the collector's.
const en = {
  'what.diagnosis': 'what may be wrong',
  'diagnosis.title': 'What may be wrong',
  'diagnosis.ask': 'Judge each cause',
  'diagnosis.likely': 'likely',
  'diagnosis.possible': 'possible',
  'diagnosis.unknown': 'nobody can judge',
  'diagnosis.ruled_out': 'ruled out by what was measured',
  'diagnosis.siblings': 'Servers that do the same for this client',
  'diagnosis.share': 'share',
  'diagnosis.usual_share': 'before',
  'diagnosis.opened': 'connections',
  'diagnosis.resets': 'reset by it',
} as const;

const zh: Record<keyof typeof en, string> = {
  'what.diagnosis': '可能的原因',
  'diagnosis.title': '可能的原因',
  'diagnosis.ask': '逐一判断原因',
  'diagnosis.likely': '很可能',
  'diagnosis.possible': '可能',
  'diagnosis.unknown': '无法判断',
  'diagnosis.ruled_out': '测量结果已排除',
  'diagnosis.siblings': '为该客户端提供同样服务的服务端',
  'diagnosis.share': '占比',
  'diagnosis.usual_share': '此前',
  'diagnosis.opened': '连接',
  'diagnosis.resets': '由其重置',
};

export const diagnosis = { en, zh };
